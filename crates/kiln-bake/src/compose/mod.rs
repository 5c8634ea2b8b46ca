//! Compose files: the services that are built, as targets.
//!
//! Only what decides a build is looked at: `build`, `image` and `environment` of services, and
//! `secrets`. Profiles don't matter. Deliberately absent: reading the files that `include`,
//! `extends` and `env_file` name; the first two may be given as further files.

mod fields;
mod merge;
mod service;
mod variables;
mod yaml;

use variables::Environment;
use yaml::{Yaml, YamlKind};

use crate::config::Config;
use crate::input::BakeInput;
use crate::source::{Fault, Outcome};
use crate::target::Group;

/// Whether a file of an unknown name is a compose file.
pub(crate) fn looks_like(text: &str) -> bool {
    yaml::parse(text, 0).is_ok_and(|documents| {
        let is_map = |value: &Yaml| matches!(value.kind, YamlKind::Map(_));
        documents
            .iter()
            .any(|document| document.get("services").is_some_and(is_map))
    })
}

/// Reads the files at those places of the input.
pub(crate) fn read(input: &BakeInput, files: &[usize], config: &mut Config) -> Outcome<()> {
    let mut environment = input.environment.clone();
    if let Some(dotenv) = &input.dotenv {
        variables::dotenv(&dotenv.text, input.files.len(), &mut environment)?;
    }
    environment.extend(input.variables.clone());
    let project_name = environment
        .entry("COMPOSE_PROJECT_NAME".to_owned())
        .or_default();
    if project_name.is_empty() {
        "bake".clone_into(project_name);
    }
    let mut project: Option<Yaml> = None;
    for &file in files {
        for document in load(input, file, &environment)? {
            project = Some(match project {
                None => document,
                Some(base) => merge::merge(base, document, "")?,
            });
        }
    }
    let Some(mut project) = project else {
        return Err(Fault::new("the compose file is empty"));
    };
    merge::without_resets(&mut project);
    if project.get("services").is_none() && project.get("secrets").is_none() {
        return Err(Fault::at(
            project.span,
            "the compose file has no `services`",
        ));
    }
    let services = project
        .get("services")
        .map(Yaml::entries)
        .unwrap_or_default();
    let mut names: Vec<&(String, Yaml)> = services.iter().collect();
    names.sort_by_key(|(name, _)| name);
    let mut group = Group {
        name: "default".to_owned(),
        ..Group::default()
    };
    for (name, service) in names {
        let base = files.first().filter(|_| input.file_relative);
        let base = base.and_then(|&file| crate::path::directory(&input.files[file].name));
        if let Some(target) =
            service::target(&project, (name, service), &environment, base.as_deref())?
        {
            group.targets.push(target.name.clone());
            match config
                .targets
                .iter_mut()
                .find(|other| other.name == target.name)
            {
                Some(other) => other.merge(target),
                None => config.targets.push(target),
            }
        }
    }
    if !services.is_empty() {
        config.groups.push(group);
    }
    Ok(())
}

/// The documents of a file, with variables replaced and services extended.
fn load(input: &BakeInput, file: usize, environment: &Environment) -> Outcome<Vec<Yaml>> {
    let mut documents = yaml::parse(&input.files[file].text, file)?;
    documents.retain(|document| !document.is_null());
    for document in &mut documents {
        if !matches!(document.kind, YamlKind::Map(_)) {
            return Err(Fault::at(document.span, "a compose file is a map"));
        }
        if let Some(include) = document.get("include") {
            return Err(Fault::at(include.span, "`include` is not followed")
                .hint(Some("name the included files with `--file`".to_owned())));
        }
        variables::interpolate(document, environment)?;
        extend(document, input, file, environment)?;
    }
    Ok(documents)
}

/// Services that extend others in a row.
const MAX_EXTENDS: usize = 20;

fn extend(
    document: &mut Yaml,
    input: &BakeInput,
    file: usize,
    environment: &Environment,
) -> Outcome<()> {
    let original = document.clone();
    let YamlKind::Map(entries) = &mut document.kind else {
        return Ok(());
    };
    for (_, services) in entries.iter_mut().filter(|(key, _)| key == "services") {
        let YamlKind::Map(services) = &mut services.kind else {
            continue;
        };
        for (name, service) in services {
            if service.get("extends").is_some() {
                *service = extended(&original, name, (input, file), environment, 0)?;
            }
        }
    }
    Ok(())
}

fn extended(
    document: &Yaml,
    name: &str,
    (input, file): (&BakeInput, usize),
    environment: &Environment,
    depth: usize,
) -> Outcome<Yaml> {
    let Some(service) = document
        .get("services")
        .and_then(|services| services.get(name))
    else {
        return Err(Fault::at(
            document.span,
            format!("there is no service `{name}` to extend"),
        ));
    };
    let Some(extends) = service.get("extends") else {
        return Ok(service.clone());
    };
    if depth > MAX_EXTENDS {
        return Err(Fault::at(
            extends.span,
            "services extend each other in a circle",
        ));
    }
    let other = extends
        .text()
        .or_else(|| extends.get("service").and_then(Yaml::text));
    let Some(other) = other else {
        return Err(Fault::at(extends.span, "`extends` wants a service"));
    };
    let base = match extends.get("file").and_then(Yaml::text) {
        None => extended(document, other, (input, file), environment, depth + 1)?,
        Some(path) => {
            let from = crate::path::directory(&input.files[file].name).unwrap_or_default();
            let wanted = crate::path::join(&from, path);
            let found = input
                .files
                .iter()
                .position(|file| crate::path::clean(&file.name) == wanted);
            let Some(found) = found else {
                return Err(
                    Fault::at(extends.span, format!("`{path}` is not among the files"))
                        .hint(Some("name it with `--file`".to_owned())),
                );
            };
            let mut documents = yaml::parse(&input.files[found].text, found)?;
            let Some(mut first) = documents.drain(..).next() else {
                return Err(Fault::at(extends.span, format!("`{path}` is empty")));
            };
            variables::interpolate(&mut first, environment)?;
            extended(&first, other, (input, found), environment, depth + 1)?
        }
    };
    merge::merge(base, service.clone(), "")
}
