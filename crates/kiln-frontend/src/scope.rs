//! Variables: the environment of a stage, and what is set before the first stage.

use std::collections::{HashMap, HashSet};

use kiln_dockerfile::ast::Instruction;
use kiln_dockerfile::expand::Vars;
use kiln_dockerfile::{Diagnostic, Dockerfile};
use kiln_oci::Platform;

use crate::LowerOptions;
use crate::text::{Expander, Result};

/// Variables in the order in which they were first set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    order: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Scope {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name) {
            Some(&place) => value.clone_into(&mut self.order[place].1),
            None => {
                self.places.insert(name.to_owned(), self.order.len());
                self.order.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.places
            .get(name)
            .map(|&place| self.order[place].1.as_str())
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.order
    }
}

impl Vars for Scope {
    fn get(&self, name: &str) -> Option<&str> {
        self.value(name)
    }
}

/// What `FROM` lines see: the automatic arguments, and the `ARG`s before the first stage with the
/// values that the build was given.
pub(crate) fn global(dockerfile: &Dockerfile, options: &LowerOptions) -> Result<Scope> {
    let mut scope = Scope::default();
    for (name, value) in automatic(dockerfile, options) {
        let value = options
            .build_args
            .get(name)
            .map_or(value.as_str(), String::as_str);
        scope.set(name, value);
    }
    let expander = Expander::new(dockerfile);
    for instruction in &dockerfile.global_args {
        for definition in &instruction.value {
            let name = &definition.name;
            let value = match (options.build_args.get(&name.value), &definition.default) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => expander.expand(default, name.span, &scope)?.text,
                (None, None) => continue,
            };
            scope.set(&name.value, &value);
        }
    }
    Ok(scope)
}

/// The arguments that the builder sets by itself; a stage sees those that it declares.
fn automatic(dockerfile: &Dockerfile, options: &LowerOptions) -> Vec<(&'static str, String)> {
    let last = dockerfile
        .stages
        .last()
        .and_then(|stage| stage.from.name.as_ref());
    let stage = match (&options.target, last) {
        (Some(target), _) => target.clone(),
        (None, Some(name)) => name.value.clone(),
        (None, None) => "default".to_owned(),
    };
    let mut arguments = platform_arguments(
        &options.build_platform,
        [
            "BUILDPLATFORM",
            "BUILDOS",
            "BUILDOSVERSION",
            "BUILDARCH",
            "BUILDVARIANT",
        ],
    );
    arguments.extend(platform_arguments(
        &options.target_platform,
        [
            "TARGETPLATFORM",
            "TARGETOS",
            "TARGETOSVERSION",
            "TARGETARCH",
            "TARGETVARIANT",
        ],
    ));
    arguments.push(("TARGETSTAGE", stage));
    arguments
}

fn platform_arguments(
    platform: &Platform,
    [whole, os, version, architecture, variant]: [&'static str; 5],
) -> Vec<(&'static str, String)> {
    vec![
        (whole, platform.to_string()),
        (os, platform.os.clone()),
        (version, platform.os_version.clone().unwrap_or_default()),
        (architecture, platform.architecture.clone()),
        (variant, platform.variant.clone().unwrap_or_default()),
    ]
}

/// Reach every process and are in no key, no history and no configuration.
const PROXIES: [&str; 5] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
];

/// The proxy variables among the build arguments, however they are written there; programs get
/// them in upper and in lower case.
pub(crate) fn proxies(options: &LowerOptions) -> Vec<(String, String)> {
    let mut proxies = Vec::new();
    for name in PROXIES {
        let mut arguments = options.build_args.iter().rev();
        if let Some((_, value)) = arguments.find(|(given, _)| given.eq_ignore_ascii_case(name)) {
            proxies.push((name.to_ascii_uppercase(), value.clone()));
            proxies.push((name.to_owned(), value.clone()));
        }
    }
    proxies
}

/// The build arguments that are used whether an `ARG` declares them or not, beside the proxies and
/// those that begin with `BUILDKIT_`.
const IMPLICIT: &str = "SOURCE_DATE_EPOCH";

/// The build arguments that nothing declares: no `ARG` of the file, of whatever stage, and none in
/// `declared`, where those of triggers are.
pub(crate) fn unused(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    declared: &HashSet<&str>,
) -> Vec<String> {
    let global = dockerfile.global_args.iter().flat_map(|args| &args.value);
    let commands = dockerfile.stages.iter().flat_map(|stage| &stage.commands);
    let local = commands.flat_map(|command| match &command.instruction {
        Instruction::Arg(definitions) => definitions.as_slice(),
        _ => &[],
    });
    let written: HashSet<&str> = global
        .chain(local)
        .map(|definition| definition.name.value.as_str())
        .collect();
    let implicit = |name: &str| {
        name == IMPLICIT
            || name.starts_with("BUILDKIT_")
            || PROXIES.iter().any(|proxy| name.eq_ignore_ascii_case(proxy))
    };
    let automatic = automatic(dockerfile, options);
    let names = options.build_args.keys().filter(|name| {
        !written.contains(name.as_str())
            && !declared.contains(name.as_str())
            && !implicit(name)
            && !automatic.iter().any(|(automatic, _)| automatic == name)
    });
    names.cloned().collect()
}

/// Arguments that never become part of a process's environment.
pub(crate) const NOT_IN_ENVIRONMENT: [&str; 2] =
    ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// One diagnostic as the list that lowering returns.
pub(crate) fn refuse<T>(diagnostic: Diagnostic) -> Result<T> {
    Err(Box::new(diagnostic))
}
