//! Steps as JSON, and the small words that all of a predicate is written with.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{BuildStep, FileAction, LineRange, Mount, StepOp};

impl LineRange {
    pub(super) fn to_json(self) -> Value {
        let range = json!({ "start": { "line": self.first }, "end": { "line": self.last } });
        let mut location = Map::new();
        // A protobuf field with the value 0 is not written.
        if self.source != 0 {
            location.insert("sourceIndex".to_owned(), self.source.into());
        }
        location.insert("ranges".to_owned(), json!([range]));
        Value::Object(location)
    }
}

impl BuildStep {
    pub(super) fn to_json(&self, index: usize) -> Value {
        let inputs = self.inputs.iter();
        let inputs: Vec<Value> = inputs
            .map(|input| format!("{}:{}", step_id(input.step), input.output).into())
            .collect();
        let mut step = Map::new();
        step.insert("id".to_owned(), step_id(index).into());
        step.insert("name".to_owned(), self.name.as_str().into());
        step.insert("op".to_owned(), json!({ "Op": self.op.to_json() }));
        put(&mut step, "inputs", some_list(inputs));
        Value::Object(step)
    }
}

impl StepOp {
    fn to_json(&self) -> Value {
        match self {
            Self::Source {
                identifier,
                attributes,
            } => {
                let mut source = Map::new();
                let identifier = without_credentials(identifier);
                source.insert("identifier".to_owned(), identifier.into());
                put_attributes(&mut source, "attrs", attributes);
                json!({ "source": source })
            }
            Self::Exec { .. } => self.exec_to_json(),
            Self::File { actions } => {
                let actions: Vec<Value> = actions.iter().map(FileAction::to_json).collect();
                json!({ "file": { "actions": actions } })
            }
            Self::Merge => json!({ "merge": {} }),
        }
    }

    fn exec_to_json(&self) -> Value {
        let Self::Exec {
            args,
            env,
            cwd,
            user,
            network,
            mounts,
            files,
            attributes,
        } = self
        else {
            return Value::Null;
        };
        let mut meta = Map::new();
        meta.insert("args".to_owned(), json!(args));
        meta.insert("env".to_owned(), json!(env));
        meta.insert("cwd".to_owned(), cwd.as_str().into());
        put_text(&mut meta, "user", Some(user));
        let mut exec = Map::new();
        exec.insert("meta".to_owned(), Value::Object(meta));
        exec.insert("network".to_owned(), (*network).into());
        let mounts = mounts.iter().map(Mount::to_json).collect();
        put(&mut exec, "mounts", some_list(mounts));
        let files = files.iter().map(FileAction::to_json).collect();
        put(&mut exec, "files", some_list(files));
        put_attributes(&mut exec, "attrs", attributes);
        json!({ "exec": exec })
    }
}

impl Mount {
    fn to_json(&self) -> Value {
        let mut mount = Map::new();
        mount.insert("mountType".to_owned(), self.kind.as_str().into());
        put_text(&mut mount, "dest", Some(&self.dest));
        put_text(&mut mount, "id", self.id.as_deref());
        put(&mut mount, "input", self.input.map(Value::from));
        if self.readonly {
            mount.insert("readonly".to_owned(), true.into());
        }
        put_attributes(&mut mount, "attrs", &self.attributes);
        Value::Object(mount)
    }
}

impl FileAction {
    fn to_json(&self) -> Value {
        match self {
            Self::Copy {
                sources,
                dest,
                attributes,
            } => {
                let mut copy = Map::new();
                copy.insert("src".to_owned(), json!(sources));
                copy.insert("dest".to_owned(), dest.as_str().into());
                put_attributes(&mut copy, "attrs", attributes);
                json!({ "copy": copy })
            }
            Self::MakeFile { path, mode, data } => {
                json!({ "mkfile": { "path": path, "mode": mode, "data": STANDARD.encode(data) } })
            }
            Self::MakeDir { path } => json!({ "mkdir": { "path": path } }),
        }
    }
}

pub(super) fn step_id(index: usize) -> String {
    format!("step{index}")
}

pub(super) fn put(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value);
    }
}

pub(super) fn put_text(map: &mut Map<String, Value>, key: &str, text: Option<&str>) {
    let text = text.filter(|text| !text.is_empty());
    put(map, key, text.map(Value::from));
}

pub(super) fn put_attributes(
    map: &mut Map<String, Value>,
    key: &str,
    values: &BTreeMap<String, String>,
) {
    put(map, key, (!values.is_empty()).then(|| json!(values)));
}

pub(super) fn some_list(items: Vec<Value>) -> Option<Value> {
    (!items.is_empty()).then_some(Value::Array(items))
}

/// The URL with `xxxxx` in place of a user's name and password, and of an HTTP URL's query: all may
/// be tokens. A git address keeps its query, which names a branch or a folder.
pub(super) fn without_credentials(url: &str) -> String {
    let shown = without_user(url);
    let is_http = shown.starts_with("http://") || shown.starts_with("https://");
    match shown.split_once('?') {
        Some((place, query)) if is_http && place.strip_suffix(".git").is_none() => {
            let fragment = query.split_once('#').map_or("", |(_, fragment)| fragment);
            let mark = if fragment.is_empty() { "" } else { "#" };
            format!("{place}?xxxxx{mark}{fragment}")
        }
        _ => shown,
    }
}

fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        // The user of a git URL is a convention, not a secret.
        Some(("git", _)) | None => url.to_owned(),
        Some((_, host)) => format!("{scheme}://xxxxx@{host}{path}"),
    }
}
