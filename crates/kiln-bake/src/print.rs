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
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
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
                item.write(out, level + 1)
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

/// A target; what is not set is left out.
pub(crate) fn target(target: &Target) -> Node {
    let text = |text: &Option<String>| text.as_deref().map(Node::text);
    let texts = |list: &[String]| (!list.is_empty()).then(|| Node::texts(list));
    let entries = |list: &[Entry], attestation: bool| {
        (!list.is_empty())
            .then(|| Node::List(list.iter().map(|each| entry(each, attestation)).collect()))
    };
    let optional = |list: &Option<Vec<Entry>>| entries(list.as_deref().unwrap_or_default(), false);
    let plain = str::to_owned as fn(&str) -> String;
    let annotations: Vec<String> = target
        .annotations
        .iter()
        .map(|text| escaped(text))
        .collect();
    let members = [
        (
            "description",
            Some(&target.description)
                .filter(|text| !text.is_empty())
                .map(|text| Node::text(text)),
        ),
        ("annotations", texts(&annotations)),
        ("attest", entries(&target.attest, true)),
        ("context", text(&target.context)),
        (
            "contexts",
            (!target.contexts.is_empty()).then(|| map(&target.contexts, plain)),
        ),
        ("dockerfile", text(&target.dockerfile)),
        (
            "dockerfile-inline",
            target
                .dockerfile_inline
                .as_deref()
                .map(|text| Node::Text(escaped(text))),
        ),
        (
            "args",
            (!target.args.is_empty()).then(|| map(&target.args, escaped)),
        ),
        (
            "labels",
            (!target.labels.is_empty()).then(|| map(&target.labels, escaped)),
        ),
        ("tags", texts(target.tags.as_deref().unwrap_or_default())),
        ("cache-from", entries(&target.cache_from, false)),
        ("cache-to", optional(&target.cache_to)),
        ("target", text(&target.target)),
        (
            "secret",
            (!target.secrets.is_empty())
                .then(|| Node::List(target.secrets.iter().map(secret).collect())),
        ),
        (
            "ssh",
            (!target.ssh.is_empty()).then(|| Node::List(target.ssh.iter().map(ssh).collect())),
        ),
        (
            "platforms",
            texts(target.platforms.as_deref().unwrap_or_default()),
        ),
        ("output", optional(&target.outputs)),
        ("pull", target.pull.map(Node::Bool)),
        ("no-cache", target.no_cache.map(Node::Bool)),
        ("network", text(&target.network)),
        ("no-cache-filter", texts(&target.no_cache_filter)),
        ("shm-size", text(&target.shm_size)),
        ("ulimits", texts(&target.ulimits)),
        ("resources", target.resources.as_ref().map(resources)),
        ("call", text(&target.call)),
        ("entitlements", texts(&target.entitlements)),
        (
            "extra-hosts",
            (!target.extra_hosts.is_empty()).then(|| map(&target.extra_hosts, escaped)),
        ),
        (
            "policy",
            (!target.policy.is_empty())
                .then(|| Node::List(target.policy.iter().map(policy).collect())),
        ),
    ];
    Node::Object(
        members
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
    )
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
