//! The stages that can be built: the answer to `--call=targets`, and the list of such questions.

use kiln_dockerfile::{Dockerfile, Span, Text};
use serde::Serialize;

use crate::location::{LineIndex, Location, encoded, json, table};

/// A stage as a target of builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: Option<String>,
    /// What the comment above it says: the rest of the line `# name rest`.
    pub description: Option<String>,
    /// What it begins with, unexpanded.
    pub base: String,
    /// `--platform`, unexpanded.
    pub platform: Option<String>,
    /// Whether it is built where no target is named.
    pub is_default: bool,
    /// Its `FROM`.
    pub span: Span,
}

/// The stages of a file, in order.
pub fn targets(dockerfile: &Dockerfile) -> Vec<Target> {
    let last = dockerfile.stages.len().saturating_sub(1);
    let stages = dockerfile.stages.iter().enumerate();
    let target = stages.map(|(index, stage)| {
        let from = &stage.from;
        let name = from.name.as_ref().map(|name| name.value.clone());
        let description = name.as_deref();
        let description = description.and_then(|name| describe(dockerfile, from.span, name));
        Target {
            description,
            name,
            base: from.base.value.clone(),
            platform: from.platform.as_ref().map(|text| text.value.clone()),
            is_default: index == last,
            span: from.span,
        }
    });
    target.collect()
}

/// What the comments above an instruction say of `name`: the rest of the first that begins with it
/// and a space.
pub(crate) fn describe(dockerfile: &Dockerfile, at: Span, name: &str) -> Option<String> {
    let lines = dockerfile.lines_at(at.start)?;
    let rest = |comment: &Text| {
        let rest = comment.value.strip_prefix(name)?.strip_prefix(' ')?;
        Some(rest.to_owned())
    };
    lines.comments.iter().find_map(rest)
}

/// The table of `--call=targets`.
pub fn targets_text(targets: &[Target]) -> String {
    let names = targets
        .iter()
        .map(|target| match (&target.name, target.is_default) {
            (None, true) => "(default)".to_owned(),
            (None, false) => String::new(),
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
        });
    let names: Vec<String> = names.collect();
    let mut rows = vec![["TARGET", "DESCRIPTION"]];
    for (name, target) in names.iter().zip(targets) {
        rows.push([name, target.description.as_deref().unwrap_or_default()]);
    }
    table(&rows, 1)
}

#[derive(Serialize)]
struct List<'a> {
    targets: Vec<Item<'a>>,
    sources: [String; 1],
}

#[derive(Serialize)]
struct Item<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    base: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    location: Location,
}

/// The JSON of BuildKit's `frontend.targets`, version 1.0.0. `text` is what was parsed.
pub fn targets_json(targets: &[Target], dockerfile: &Dockerfile, text: &str) -> String {
    let index = LineIndex::new(text);
    let items = targets.iter().map(|target| Item {
        name: target.name.as_deref(),
        default: target.is_default,
        description: target.description.as_deref(),
        base: &target.base,
        platform: target.platform.as_deref(),
        location: Location::of(dockerfile, &index, target.span),
    });
    json(&List {
        targets: items.collect(),
        sources: [encoded(text)],
    })
}

/// A question that `--call` can ask instead of building.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subrequest {
    /// BuildKit's name for it, with `frontend.` in front.
    pub name: &'static str,
    /// The version of its answer's format.
    pub version: &'static str,
    /// What it is for.
    pub description: &'static str,
}

/// What can be asked.
pub const SUBREQUESTS: [Subrequest; 4] = [
    Subrequest {
        name: "frontend.outline",
        version: "1.0.0",
        description: "What a build of the target can be given",
    },
    Subrequest {
        name: "frontend.targets",
        version: "1.0.0",
        description: "The stages that can be built",
    },
    Subrequest {
        name: "frontend.lint",
        version: "1.0.0",
        description: "What should be written otherwise",
    },
    Subrequest {
        name: "frontend.subrequests.describe",
        version: "1.0.0",
        description: "This list",
    },
];

/// The table of `--call=subrequests.describe`.
pub fn subrequests_text() -> String {
    let mut rows = vec![["NAME", "VERSION", "DESCRIPTION"]];
    rows.extend(SUBREQUESTS.iter().map(|request| {
        let name = request.name.trim_start_matches("frontend.");
        [name, request.version, request.description]
    }));
    table(&rows, 1)
}

#[derive(Serialize)]
struct Request {
    name: &'static str,
    version: &'static str,
    r#type: &'static str,
    description: &'static str,
    opts: Vec<Named>,
    inputs: Option<Vec<Named>>,
    metadata: Vec<Named>,
    refs: Option<Vec<Named>>,
}

#[derive(Serialize)]
struct Named {
    name: &'static str,
    description: &'static str,
}

/// The JSON of BuildKit's `frontend.subrequests.describe`, version 1.0.0.
pub fn subrequests_json() -> String {
    let named = |name, description| Named { name, description };
    let requests = SUBREQUESTS.map(|request| {
        let takes_target = request.name == "frontend.outline";
        let mut metadata = vec![named("result.json", ""), named("result.txt", "")];
        if request.name == "frontend.lint" {
            metadata.push(named("result.statuscode", ""));
        }
        Request {
            name: request.name,
            version: request.version,
            r#type: "rpc",
            description: request.description,
            opts: if takes_target {
                vec![named("target", "The stage to build")]
            } else {
                Vec::new()
            },
            inputs: None,
            metadata,
            refs: None,
        }
    });
    json(&requests)
}
