//! From files to targets.

use std::collections::{BTreeMap, BTreeSet};

use crate::compose;
use crate::config::{self, Config, Variable};
use crate::entitlement::Entitlement;
use crate::error::BakeError;
use crate::input::{BakeFile, BakeInput};
use crate::print::{self, Node};
use crate::resolve;
use crate::source::{Fault, Outcome};
use crate::syntax::ast::Body;
use crate::syntax::{body, json};
use crate::target::{Group, Target};

/// Everything that was asked for, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bake {
    /// Groups by name; `default` is what was asked for.
    pub groups: BTreeMap<String, Group>,
    /// Targets by name, those that others use as a context included.
    pub targets: BTreeMap<String, Target>,
    /// All variables of the files.
    pub variables: Vec<Variable>,
    /// What the files say that nothing listens to: to be shown, not to stop at.
    pub warnings: Vec<BakeError>,
    /// What overrides of the command line allow by naming it.
    pub granted: Vec<Entitlement>,
}

/// What the files declare, whether it is asked for or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    targets: Vec<(String, String, bool)>,
    variables: Vec<Variable>,
}

/// Reads and resolves.
///
/// # Errors
/// A file is wrong, or the request asks for what is not there.
pub fn read(input: &BakeInput) -> Result<Bake, BakeError> {
    let resolved = load(input).and_then(|config| {
        let resolved = resolve::resolve(input, &config)?;
        Ok(Bake {
            groups: resolved.groups,
            targets: resolved.targets,
            variables: config.variables,
            warnings: config
                .warnings
                .into_iter()
                .map(|fault| report(fault, input))
                .collect(),
            granted: resolved.granted,
        })
    });
    resolved.map_err(|fault| report(fault, input))
}

/// Reads what there is to ask for: `--list`.
///
/// # Errors
/// A file is wrong.
pub fn list(input: &BakeInput) -> Result<Listing, BakeError> {
    let config = load(input).map_err(|fault| report(fault, input))?;
    let mut targets: Vec<(String, String, bool)> = config
        .targets
        .into_iter()
        .map(|target| (target.name, target.description, false))
        .collect();
    for group in config.groups {
        let mut names = group.targets;
        names.sort();
        let names = names.join(", ");
        let description = match (group.description.is_empty(), names.is_empty()) {
            (true, _) => names,
            (false, true) => group.description,
            (false, false) => format!("{} ({names})", group.description),
        };
        targets.push((group.name, description, true));
    }
    // A name that begins with `_` is private.
    targets.retain(|(name, _, _)| !name.starts_with('_'));
    targets.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(Listing {
        targets,
        variables: config.variables,
    })
}

fn report(fault: Fault, input: &BakeInput) -> BakeError {
    let mut files: Vec<(&str, &str)> = input
        .files
        .iter()
        .map(|file| (file.name.as_str(), file.text.as_str()))
        .collect();
    files.extend(
        input
            .dotenv
            .iter()
            .map(|file| (file.name.as_str(), file.text.as_str())),
    );
    fault.report(&files)
}

/// How a file is written.
enum Read {
    Compose,
    Body(Body),
}

fn load(input: &BakeInput) -> Outcome<Config> {
    if input.files.is_empty() {
        return Err(Fault::new("no bake file was found").hint(Some(format!(
            "one of {} is looked for",
            crate::input::DEFAULT_FILES.join(", ")
        ))));
    }
    let mut composes = Vec::new();
    let mut bodies = Vec::new();
    for (index, file) in input.files.iter().enumerate() {
        match read_file(file, index)? {
            Read::Compose => composes.push(index),
            Read::Body(body) => bodies.push((index, body)),
        }
    }
    let mut config = Config::default();
    if !composes.is_empty() {
        compose::read(input, &composes, &mut config)?;
    }
    if !bodies.is_empty() {
        let names: Vec<String> = input.files.iter().map(|file| file.name.clone()).collect();
        config::read(input, &names, &bodies, &mut config)?;
    }
    Ok(config)
}

/// Larger files are refused.
const MAX_FILE: usize = 4 << 20;

fn read_file(file: &BakeFile, index: usize) -> Outcome<Read> {
    if file.text.len() > MAX_FILE {
        return Err(Fault::new(format!(
            "`{}` is larger than {MAX_FILE} bytes",
            file.name
        )));
    }
    let extension =
        |wanted: &str| file.name.len() > wanted.len() && file.name.to_lowercase().ends_with(wanted);
    if extension(".yml") || extension(".yaml") {
        return Ok(Read::Compose);
    }
    if extension(".json") {
        return json::bake_file(&file.text, index).map(Read::Body);
    }
    if extension(".hcl") {
        return body::parse(&file.text, index).map(Read::Body);
    }
    if compose::looks_like(&file.text) {
        return Ok(Read::Compose);
    }
    match (
        body::parse(&file.text, index),
        json::bake_file(&file.text, index),
    ) {
        (Ok(body), _) | (Err(_), Ok(body)) => Ok(Read::Body(body)),
        // What begins like JSON was meant to be.
        (Err(_), Err(fault)) if file.text.trim_start().starts_with('{') => Err(fault),
        (Err(fault), Err(_)) => Err(fault),
    }
}

impl Bake {
    /// What `bake --print` prints, the last end of line included.
    pub fn print_json(&self) -> String {
        let object = |members: Vec<(String, Node)>| Node::Object(members);
        let groups = self
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), print::group(group)))
            .collect();
        let targets = self
            .targets
            .iter()
            .map(|(name, target)| (name.clone(), print::target(target)))
            .collect();
        let mut members = Vec::new();
        if !self.groups.is_empty() {
            members.push(("group".to_owned(), object(groups)));
        }
        members.push(("target".to_owned(), object(targets)));
        object(members).print() + "\n"
    }

    /// Names of all targets, each after those that its contexts name.
    pub fn build_order(&self) -> Vec<&str> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in self.targets.keys() {
            self.visit(name, &mut seen, &mut order);
        }
        order
    }

    fn visit<'a>(&'a self, name: &'a str, seen: &mut BTreeSet<&'a str>, order: &mut Vec<&'a str>) {
        let Some(target) = self.targets.get(name).filter(|_| seen.insert(name)) else {
            return;
        };
        for linked in target
            .contexts
            .values()
            .filter_map(|context| context.strip_prefix("target:"))
        {
            self.visit(linked, seen, order);
        }
        order.push(name);
    }
}

impl Listing {
    /// `--list targets`.
    pub fn targets_table(&self) -> String {
        let mut rows = vec![vec!["TARGET", "DESCRIPTION"]];
        rows.extend(
            self.targets
                .iter()
                .map(|(name, description, _)| vec![name.as_str(), description.as_str()]),
        );
        print::table(&rows)
    }

    /// `--list type=targets,format=json`.
    pub fn targets_json(&self) -> String {
        print::target_list(&self.targets).print() + "\n"
    }

    /// `--list variables`.
    pub fn variables_table(&self) -> String {
        let mut rows = vec![vec!["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"]];
        rows.extend(self.variables.iter().map(|variable| {
            let value = variable.value.as_deref().unwrap_or("<null>");
            vec![
                variable.name.as_str(),
                variable.ty.as_str(),
                value,
                variable.description.as_str(),
            ]
        }));
        print::table(&rows)
    }

    /// `--list type=variables,format=json`.
    pub fn variables_json(&self) -> String {
        print::variable_list(&self.variables).print() + "\n"
    }
}
