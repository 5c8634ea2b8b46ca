//! Targets as JSON, and lists as tables, as buildx prints them.

use crate::config::Variable;
use crate::entry::{Entry, Policy, Resources, Secret, Ssh};
use crate::target::{Group, Target};
use crate::value::json::quote;

/// JSON with members in the order they are printed in.
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Node {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn texts(texts: &[String]) -> Self {
        Self::List(texts.iter().map(|text| Self::text(text)).collect())
    }

    /// The document, indented by two blanks.
    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, level: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(value) => out.push_str(&value.to_string()),
            Self::Text(text) => quote(out, text),
            Self::List(items) => rows(out, level, ['[', ']'], items, |out, item| {
                item.write(out, level + 1);
            }),
            Self::Object(members) => rows(out, level, ['{', '}'], members, |out, (key, value)| {
                quote(out, key);
                out.push_str(": ");
                value.write(out, level + 1);
            }),
        }
    }
}

fn rows<T>(
    out: &mut String,
    level: usize,
    [open, close]: [char; 2],
    items: &[T],
    write: impl Fn(&mut String, &T),
) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at > 0 { ",\n" } else { "\n" });
        out.push_str(&"  ".repeat(level + 1));
        write(out, item);
    }
    if !items.is_empty() {
        out.push('\n');
        out.push_str(&"  ".repeat(level));
    }
    out.push(close);
}

/// Text that would be a template in a bake file, escaped.
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn map<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a String)>,
    show: fn(&str) -> String,
) -> Node {
    Node::Object(
        entries
            .into_iter()
            .map(|(key, value)| (key.clone(), Node::Text(show(value))))
            .collect(),
    )
}

fn entry(entry: &Entry, attestation: bool) -> Node {
    let mut members: Vec<(String, Node)> = entry
        .attributes
        .iter()
        .map(|(key, value)| {
            let flag = attestation && key == "disabled";
            (
                key.clone(),
                if flag {
                    Node::Bool(true)
                } else {
                    Node::text(value)
                },
            )
        })
        .collect();
    members.push(("type".to_owned(), Node::text(&entry.kind)));
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    Node::Object(members)
}

fn secret(secret: &Secret) -> Node {
    let members = [
        ("id", &secret.id),
        ("src", &secret.src),
        ("env", &secret.env),
    ];
    let given = members.into_iter().filter(|(_, value)| !value.is_empty());
    Node::Object(
        given
            .map(|(key, value)| (key.to_owned(), Node::text(value)))
            .collect(),
    )
}

fn ssh(ssh: &Ssh) -> Node {
    let mut members = Vec::new();
    if !ssh.id.is_empty() {
        members.push(("id".to_owned(), Node::text(&ssh.id)));
    }
    if !ssh.paths.is_empty() {
        members.push(("paths".to_owned(), Node::texts(&ssh.paths)));
    }
    Node::Object(members)
}

fn policy(policy: &Policy) -> Node {
    let file = |file: &String| {
        Node::Object(vec![
            ("Filename".to_owned(), Node::text(file)),
            ("Data".to_owned(), Node::Null),
        ])
    };
    let files = if policy.files.is_empty() {
        Node::Null
    } else {
        Node::List(policy.files.iter().map(file).collect())
    };
    let members = [
        ("Files", files),
        ("Reset", Node::Bool(policy.reset)),
        ("Disabled", Node::Bool(policy.disabled)),
        ("Strict", policy.strict.map_or(Node::Null, Node::Bool)),
        (
            "LogLevel",
            policy.log_level.as_deref().map_or(Node::Null, Node::text),
        ),
    ];
    Node::Object(
        members
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn resources(resources: &Resources) -> Node {
    let text = |value: &Option<String>| value.as_deref().map(Node::text);
    let members = [
        ("memory", text(&resources.memory)),
        ("memory-swap", text(&resources.memory_swap)),
        ("cpu-shares", resources.cpu_shares.map(Node::Number)),
        ("cpu-period", resources.cpu_period.map(Node::Number)),
        ("cpu-quota", resources.cpu_quota.map(Node::Number)),
        ("cpuset-cpus", text(&resources.cpuset_cpus)),
        ("cpuset-mems", text(&resources.cpuset_mems)),
    ];
    Node::Object(
        members
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
    )
}

type Member = (&'static str, Option<Node>);

/// Nothing for an empty list.
fn list<T>(items: &[T], show: impl Fn(&T) -> Node) -> Option<Node> {
    (!items.is_empty()).then(|| Node::List(items.iter().map(show).collect()))
}

/// Nothing for an empty map.
fn full(
    entries: &std::collections::BTreeMap<String, String>,
    show: fn(&str) -> String,
) -> Option<Node> {
    (!entries.is_empty()).then(|| map(entries, show))
}

fn optional(text: Option<&String>) -> Option<Node> {
    text.map(|text| Node::text(text))
}

fn own(text: &str) -> String {
    text.to_owned()
}

/// A target; what is not set is left out.
pub(crate) fn target(target: &Target) -> Node {
    let members = source_members(target)
        .into_iter()
        .chain(run_members(target));
    Node::Object(
        members
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
    )
}

/// Members up to the platforms.
fn source_members(target: &Target) -> [Member; 16] {
    let cached = target.cache_to.as_deref().unwrap_or_default();
    let tags = target.tags.as_deref().unwrap_or_default();
    let platforms = target.platforms.as_deref().unwrap_or_default();
    let inline = target.dockerfile_inline.as_deref();
    [
        (
            "description",
            optional(Some(&target.description).filter(|text| !text.is_empty())),
        ),
        (
            "annotations",
            list(&target.annotations, |text| Node::Text(escaped(text))),
        ),
        ("attest", list(&target.attest, |each| entry(each, true))),
        ("context", optional(target.context.as_ref())),
        ("contexts", full(&target.contexts, own)),
        ("dockerfile", optional(target.dockerfile.as_ref())),
        (
            "dockerfile-inline",
            inline.map(|text| Node::Text(escaped(text))),
        ),
        ("args", full(&target.args, escaped)),
        ("labels", full(&target.labels, escaped)),
        ("tags", list(tags, |text| Node::text(text))),
        (
            "cache-from",
            list(&target.cache_from, |each| entry(each, false)),
        ),
        ("cache-to", list(cached, |each| entry(each, false))),
        ("target", optional(target.target.as_ref())),
        ("secret", list(&target.secrets, secret)),
        ("ssh", list(&target.ssh, ssh)),
        ("platforms", list(platforms, |text| Node::text(text))),
    ]
}

/// Members from the outputs.
fn run_members(target: &Target) -> [Member; 12] {
    let outputs = target.outputs.as_deref().unwrap_or_default();
    [
        ("output", list(outputs, |each| entry(each, false))),
        ("pull", target.pull.map(Node::Bool)),
        ("no-cache", target.no_cache.map(Node::Bool)),
        ("network", optional(target.network.as_ref())),
        (
            "no-cache-filter",
            list(&target.no_cache_filter, |text| Node::text(text)),
        ),
        ("shm-size", optional(target.shm_size.as_ref())),
        ("ulimits", list(&target.ulimits, |text| Node::text(text))),
        ("resources", target.resources.as_ref().map(resources)),
        ("call", optional(target.call.as_ref())),
        (
            "entitlements",
            list(&target.entitlements, |text| Node::text(text)),
        ),
        ("extra-hosts", full(&target.extra_hosts, escaped)),
        ("policy", list(&target.policy, policy)),
    ]
}

/// A group.
pub(crate) fn group(group: &Group) -> Node {
    let mut members = Vec::new();
    if !group.description.is_empty() {
        members.push(("description".to_owned(), Node::text(&group.description)));
    }
    members.push(("targets".to_owned(), Node::texts(&group.targets)));
    Node::Object(members)
}

/// A line of `--list targets`: name, description, whether it is a group.
pub(crate) fn target_list(targets: &[(String, String, bool)]) -> Node {
    if targets.is_empty() {
        return Node::Null;
    }
    let row = |(name, description, group): &(String, String, bool)| {
        let mut members = vec![("name".to_owned(), Node::text(name))];
        if !description.is_empty() {
            members.push(("description".to_owned(), Node::text(description)));
        }
        if *group {
            members.push(("group".to_owned(), Node::Bool(true)));
        }
        Node::Object(members)
    };
    Node::List(targets.iter().map(row).collect())
}

/// The JSON of `--list variables`.
pub(crate) fn variable_list(variables: &[Variable]) -> Node {
    let row = |variable: &Variable| {
        let optional =
            |key: &str, text: &str| (!text.is_empty()).then(|| (key.to_owned(), Node::text(text)));
        let mut members = vec![("name".to_owned(), Node::text(&variable.name))];
        members.extend(optional("description", &variable.description));
        members.extend(optional("type", &variable.ty));
        members.extend(
            variable
                .value
                .as_ref()
                .map(|value| ("value".to_owned(), Node::text(value))),
        );
        Node::Object(members)
    };
    Node::List(variables.iter().map(row).collect())
}

/// Rows of cells, aligned by tabs of eight.
pub(crate) fn table(rows: &[Vec<&str>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0) / 8 * 8 + 8
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if at + 1 < row.len() {
                out.push_str(&"\t".repeat((widths[at] - cell.chars().count()).div_ceil(8)));
            }
        }
        out.push('\n');
    }
    out
}
