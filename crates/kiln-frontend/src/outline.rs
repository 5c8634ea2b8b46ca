//! What a build of a target can be given: the answer to `--call=outline`.
//!
//! Listed are the build arguments that the target and the stages it needs use, and the secrets, SSH
//! agents and caches that their `RUN`s mount. BuildKit has a place for caches, too, and leaves it
//! empty.

use std::collections::{BTreeMap, BTreeSet};

use kiln_dockerfile::{Diagnostic, Dockerfile, Span};
use serde::Serialize;

use crate::lint::{Capture, Linter, Reach, Walked};
use crate::location::{LineIndex, Location, encoded, json, table};
use crate::lower;
use crate::targets::describe;
use crate::text::Expander;
use crate::{Facts, LowerOptions};

/// What a target's build can be given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// The target's name.
    pub name: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// The build arguments, in the order of the file.
    pub args: Vec<OutlineArg>,
    /// The secrets.
    pub secrets: Vec<OutlineMount>,
    /// The SSH agents.
    pub ssh: Vec<OutlineMount>,
    /// The cache mounts: their ids and where they are first used.
    pub caches: Vec<(String, Span)>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// Its value in this build: what was given, or the default with its variables replaced.
    pub value: Option<String>,
    /// What the comment above its `ARG` says.
    pub description: Option<String>,
    /// Its `ARG`.
    pub span: Span,
}

/// A secret or an SSH agent that a step mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its id.
    pub name: String,
    /// Whether the build fails without it.
    pub is_required: bool,
    /// Where it is first mounted.
    pub span: Span,
}

/// Finds what a build of the options' target can be given.
///
/// # Errors
/// What keeps the target from being built, as far as it is known without more facts.
pub fn outline(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
    facts: &Facts,
) -> Result<Outline, Vec<Diagnostic>> {
    let errors = lower::errors(dockerfile, options, facts);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut linter = Linter::new(dockerfile, options, facts);
    let walked = linter.run(Reach::Target);
    let Some(stage) = dockerfile.stages.get(walked.target) else {
        return Ok(Outline::default());
    };
    let name = stage.from.name.as_ref().map(|name| name.value.clone());
    let description = name.as_deref();
    let description = description.and_then(|name| describe(dockerfile, stage.from.span, name));
    let mut outline = Outline {
        name,
        description,
        ..Outline::default()
    };
    let globals = Globals::read(&linter);
    for index in order(&linter, &walked) {
        if let Some(stage) = &walked.stages[index] {
            let used = stage.capture.used.iter().chain(&walked.bases[index].used);
            outline.add_args(dockerfile, &globals, &stage.capture, used);
            outline.add_mounts(&stage.capture);
        }
    }
    outline.args.sort_by_key(|arg| arg.span.start);
    outline.secrets.sort_by_key(|secret| secret.span.start);
    outline.ssh.sort_by_key(|agent| agent.span.start);
    outline.caches.sort_by_key(|(_, span)| span.start);
    Ok(outline)
}

/// The target, what it begins with, then what else it needs; the first that has a name has the say.
fn order(linter: &Linter<'_>, walked: &Walked) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let mut seen = vec![false; walked.bases.len()];
    let mut open = vec![walked.target];
    while let Some(index) = open.pop() {
        if !std::mem::replace(&mut seen[index], true) {
            order.push(index);
            open.extend(linter.needed(index, &walked.bases).into_iter().rev());
        }
    }
    order
}

/// The arguments before the first stage.
#[derive(Default)]
struct Globals {
    args: BTreeMap<String, Global>,
}

#[derive(Default)]
struct Global {
    value: Option<String>,
    span: Span,
    /// The variables in its default.
    uses: BTreeSet<String>,
}

impl Globals {
    fn read(linter: &Linter<'_>) -> Self {
        let (dockerfile, scope) = (linter.dockerfile, linter.global_scope());
        let expander = Expander::new(dockerfile);
        let mut globals = Self::default();
        for instruction in &dockerfile.global_args {
            for definition in &instruction.value {
                let name = &definition.name.value;
                let is_given = linter.options.build_args.contains_key(name);
                let default = definition.default.as_ref().filter(|_| !is_given);
                let uses = default.and_then(|text| {
                    let default = expander.expand(text, instruction.span, scope).ok()?;
                    Some(default.used)
                });
                let global = Global {
                    value: scope.value(name).map(str::to_owned),
                    span: definition.name.span,
                    uses: uses.unwrap_or_default(),
                };
                globals.args.insert(name.clone(), global);
            }
        }
        globals
    }

    /// The names, and those that their defaults use, and so on.
    fn with_uses<'n>(&'n self, names: impl Iterator<Item = &'n String>) -> BTreeSet<&'n str> {
        let mut all = BTreeSet::new();
        let mut open: Vec<&str> = names.map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if all.insert(name)
                && let Some(global) = self.args.get(name)
            {
                open.extend(global.uses.iter().map(String::as_str));
            }
        }
        all
    }
}

impl Outline {
    fn add_args<'n>(
        &mut self,
        dockerfile: &Dockerfile,
        globals: &'n Globals,
        capture: &Capture,
        used: impl Iterator<Item = &'n String>,
    ) {
        for name in globals.with_uses(used) {
            if self.args.iter().any(|known| known.name == name) {
                continue;
            }
            let own = capture.args.get(name).cloned();
            let global = globals.args.get(name);
            let global = global.map(|global| (global.value.clone(), global.span));
            if let Some((value, span)) = own.or(global) {
                self.args.push(OutlineArg {
                    name: name.to_owned(),
                    value,
                    description: describe(dockerfile, span, name),
                    span,
                });
            }
        }
    }

    fn add_mounts(&mut self, capture: &Capture) {
        add(&mut self.secrets, &capture.secrets);
        add(&mut self.ssh, &capture.ssh);
        for (id, span) in &capture.caches {
            if !self.caches.iter().any(|(known, _)| known == id) {
                self.caches.push((id.clone(), *span));
            }
        }
    }

    /// The tables of `--call=outline`. Empty ones are left out.
    pub fn to_text(&self) -> String {
        let mut tables = Vec::new();
        if self.name.is_some() || self.description.is_some() {
            let name = self.name.as_deref().unwrap_or("(default)");
            let mut rows = vec![["TARGET:", name]];
            rows.extend(
                self.description
                    .as_deref()
                    .map(|text| ["DESCRIPTION:", text]),
            );
            tables.push(table(&rows, 1));
        }
        if !self.args.is_empty() {
            let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"]];
            rows.extend(self.args.iter().map(|arg| {
                let value = arg.value.as_deref().unwrap_or_default();
                [
                    &arg.name,
                    value,
                    arg.description.as_deref().unwrap_or_default(),
                ]
            }));
            tables.push(table(&rows, 3));
        }
        for (title, mounts) in [("SECRET", &self.secrets), ("SSH", &self.ssh)] {
            if !mounts.is_empty() {
                let mut rows = vec![[title, "REQUIRED"]];
                rows.extend(mounts.iter().map(OutlineMount::row));
                tables.push(table(&rows, 3));
            }
        }
        if !self.caches.is_empty() {
            let mut rows = vec![["CACHE"]];
            rows.extend(self.caches.iter().map(|(id, _)| [id.as_str()]));
            tables.push(table(&rows, 3));
        }
        tables.into_iter().map(|table| table + "\n").collect()
    }

    /// The JSON of BuildKit's `frontend.outline`, version 1.0.0. `text` is what was parsed.
    pub fn to_json(&self, dockerfile: &Dockerfile, text: &str) -> String {
        let index = LineIndex::new(text);
        let location = |span: Span| Location::of(dockerfile, &index, span);
        let mounts = |mounts: &'_ [OutlineMount]| -> Vec<JsonMount> {
            let mounts = mounts.iter().map(|mount| JsonMount {
                name: mount.name.clone(),
                required: mount.is_required,
                location: location(mount.span),
            });
            mounts.collect()
        };
        let args = self.args.iter().map(|arg| JsonArg {
            name: &arg.name,
            description: arg.description.as_deref(),
            value: arg.value.as_deref().filter(|value| !value.is_empty()),
            location: location(arg.span),
        });
        let caches = self.caches.iter().map(|(id, span)| JsonCache {
            id,
            location: location(*span),
        });
        json(&Json {
            name: self.name.as_deref(),
            description: self.description.as_deref(),
            args: args.collect(),
            secrets: mounts(&self.secrets),
            ssh: mounts(&self.ssh),
            cache: caches.collect(),
            sources: [encoded(text)],
        })
    }
}

impl OutlineMount {
    fn row(&self) -> [&str; 2] {
        [&self.name, if self.is_required { "true" } else { "" }]
    }
}

fn add(all: &mut Vec<OutlineMount>, mounts: &BTreeMap<String, (bool, Span)>) {
    for (name, (is_required, span)) in mounts {
        if !all.iter().any(|known| known.name == *name) {
            all.push(OutlineMount {
                name: name.clone(),
                is_required: *is_required,
                span: *span,
            });
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<JsonArg<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<JsonMount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<JsonMount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache: Vec<JsonCache<'a>>,
    sources: [String; 1],
}

#[derive(Serialize)]
struct JsonArg<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    location: Location,
}

#[derive(Serialize)]
struct JsonMount {
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    location: Location,
}

#[derive(Serialize)]
struct JsonCache<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    location: Location,
}
