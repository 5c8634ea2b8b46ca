//! `RUN --mount`: CSV fields, and their types once variables are expanded.

use crate::ast::{FileOptions, Mount, MountFlag, MountKind, Sharing};
use crate::expand::ExpandError;
use crate::{Span, suggest};

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];
const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const SHARINGS: [&str; 3] = ["shared", "private", "locked"];

/// A `--mount` that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The quotes of the CSV are wrong.
    #[error("the fields of the mount are not valid CSV")]
    Csv,
    /// `from` with a variable in it.
    #[error("`from` doesn't support variable expansion")]
    VariableInFrom,
    /// A value's variables can't be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A field without a value that needs one.
    #[error("`{0}` must be a `key=value` pair")]
    NotAPair(String),
    /// A key that no mount has.
    #[error("unexpected key `{0}`")]
    UnknownKey(String),
    /// A key that this type of mount does not have.
    #[error("unexpected key `{key}` for a mount of type `{kind}`")]
    KeyOfOtherType {
        /// The key.
        key: String,
        /// The mount's type.
        kind: String,
    },
    /// A type that does not exist.
    #[error("unsupported mount type `{0}`")]
    UnknownType(String),
    /// A value that the key can't have.
    #[error("invalid value `{value}` for `{key}`")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value, expanded.
        value: String,
    },
    /// A secret without any name.
    #[error("a secret mount needs an `id` or a `target`")]
    NamelessSecret,
    /// `id` and `source`, which is the same for a secret, both given.
    #[error("`id` and `source` of a secret mount can't both be set")]
    TwoSecretNames,
}

impl MountError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::VariableInFrom => {
                Some("define an alias stage with `FROM` and name that".to_owned())
            }
            Self::UnknownKey(key) => suggest::hint(key, KEYS),
            Self::UnknownType(kind) => suggest::hint(kind, TYPES)
                .or_else(|| Some(format!("the types are {}", TYPES.join(", ")))),
            Self::InvalidValue { key, value } if key == "sharing" => suggest::hint(value, SHARINGS)
                .or_else(|| Some(format!("it can be {}", SHARINGS.join(", ")))),
            _ => None,
        }
    }
}

/// The fields as they were given, before the type decides which of them make sense.
#[derive(Default)]
struct Fields {
    kind: Option<String>,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    id: Option<String>,
    env: Option<String>,
    read_only: Option<bool>,
    required: Option<bool>,
    size: Option<u64>,
    sharing: Option<Sharing>,
    owner: FileOptions,
}

impl MountFlag {
    /// Splits the flag's value into fields, and checks what can be checked before expansion.
    pub(crate) fn parse(value: &str, span: Span) -> Result<Self, MountError> {
        let fields = Some(value).filter(|value| !value.is_empty());
        let fields = fields.and_then(split_csv).ok_or(MountError::Csv)?;
        for field in &fields {
            if let Some((key, value)) = field.split_once('=')
                && key.eq_ignore_ascii_case("from")
                && value.find('$').is_some_and(|at| at + 1 != value.len())
            {
                return Err(MountError::VariableInFrom);
            }
        }
        Ok(Self { fields, span })
    }

    /// Expands every value but that of `from`, and types the mount.
    ///
    /// # Errors
    /// See [`MountError`].
    pub fn resolve(
        &self,
        mut expand: impl FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Mount, MountError> {
        let mut fields = Fields::default();
        for field in &self.fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
                None => (field.to_ascii_lowercase(), None),
            };
            let value = match (key.as_str(), value) {
                ("from", Some(value)) => Some(value.to_owned()),
                (_, Some(value)) => Some(expand(value)?),
                (_, None) => None,
            };
            fields.set(key, value)?;
        }
        fields.finish()
    }
}

impl Fields {
    fn set(&mut self, key: String, value: Option<String>) -> Result<(), MountError> {
        let Some(value) = value else {
            match key.as_str() {
                "readonly" | "ro" => self.read_only = Some(true),
                "readwrite" | "rw" => self.read_only = Some(false),
                "required" => self.required = Some(true),
                _ => return Err(MountError::NotAPair(key)),
            }
            return Ok(());
        };
        let invalid = |key: &str, value: &str| MountError::InvalidValue {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let boolean = |key: &str, value: &str| parse_bool(value).ok_or_else(|| invalid(key, value));
        let number = |key: &str, value: &str, radix: u32| {
            let number = Some(value).filter(|value| !value.starts_with('+'));
            let number = number.and_then(|value| u32::from_str_radix(value, radix).ok());
            number.ok_or_else(|| invalid(key, value))
        };
        match key.as_str() {
            "type" => {
                let kind = value.to_ascii_lowercase();
                if !TYPES.contains(&kind.as_str()) {
                    return Err(MountError::UnknownType(value));
                }
                self.kind = Some(kind);
            }
            "from" => self.from = not_empty(value),
            "source" | "src" => self.source = not_empty(value),
            "target" | "dst" | "destination" => self.target = not_empty(value),
            "id" => self.id = not_empty(value),
            "env" => self.env = Some(value),
            "readonly" | "ro" => self.read_only = Some(boolean(&key, &value)?),
            "readwrite" | "rw" => self.read_only = Some(!boolean(&key, &value)?),
            "required" => self.required = Some(boolean(&key, &value)?),
            "size" => {
                self.size = Some(parse_size(&value).ok_or_else(|| invalid(&key, &value))?);
            }
            "sharing" => {
                self.sharing = Some(match value.to_ascii_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err(invalid(&key, &value)),
                });
            }
            "mode" => self.owner.mode = Some(number(&key, &value, 8)?),
            "uid" => self.owner.uid = Some(number(&key, &value, 10)?),
            "gid" => self.owner.gid = Some(number(&key, &value, 10)?),
            _ => return Err(MountError::UnknownKey(key)),
        }
        Ok(())
    }

    fn finish(self) -> Result<Mount, MountError> {
        let kind = self.kind.clone().unwrap_or_else(|| "bind".to_owned());
        self.check_keys(&kind)?;
        let writable = matches!(kind.as_str(), "cache" | "tmpfs");
        let read_only = self.read_only.unwrap_or(!writable);
        let required = self.required.unwrap_or(false);
        let (owner, target) = (self.owner, self.target);
        let kind = match kind.as_str() {
            "cache" => MountKind::Cache {
                id: self.id,
                from: self.from,
                source: self.source,
                sharing: self.sharing.unwrap_or_default(),
                owner,
            },
            "tmpfs" => MountKind::Tmpfs { size: self.size },
            "secret" => {
                if self.source.is_none() && target.is_none() && self.id.is_none() {
                    return Err(MountError::NamelessSecret);
                }
                if self.source.is_some() && self.id.is_some() {
                    return Err(MountError::TwoSecretNames);
                }
                MountKind::Secret {
                    id: self.id.or(self.source),
                    env: self.env,
                    required,
                    owner,
                }
            }
            "ssh" => MountKind::Ssh {
                id: self.id,
                required,
                owner,
            },
            _ => MountKind::Bind {
                from: self.from,
                source: self.source,
            },
        };
        Ok(Mount {
            kind,
            target,
            read_only,
        })
    }

    /// An error for the first key that the type does not have.
    fn check_keys(&self, kind: &str) -> Result<(), MountError> {
        let has_owner = matches!(kind, "cache" | "secret" | "ssh");
        let wrong = [
            (
                "required",
                self.required.is_some() && !matches!(kind, "secret" | "ssh"),
            ),
            ("size", self.size.is_some() && kind != "tmpfs"),
            ("sharing", self.sharing.is_some() && kind != "cache"),
            ("from", self.from.is_some() && kind == "secret"),
            ("source", self.source.is_some() && kind == "ssh"),
            ("mode", self.owner.mode.is_some() && !has_owner),
            ("uid", self.owner.uid.is_some() && !has_owner),
            ("gid", self.owner.gid.is_some() && !has_owner),
        ];
        match wrong.into_iter().find(|&(_, wrong)| wrong) {
            None => Ok(()),
            Some((key, _)) => Err(MountError::KeyOfOtherType {
                key: key.to_owned(),
                kind: kind.to_owned(),
            }),
        }
    }
}

/// A value; an empty one is as good as none.
fn not_empty(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Bytes, with a unit of powers of 1024: `64m`, `1.5GiB`, `100`.
fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_prefix('+').unwrap_or(&lower);
    let number_end = lower
        .find(|ch: char| !ch.is_ascii_digit() && ch != '.' && ch != '_')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(number_end);
    if number.starts_with('_') || number.ends_with('_') || number.contains("__") {
        return None;
    }
    let number = number.replace('_', "");
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let whole: u64 = match whole {
        "" if fraction.is_empty() => return None,
        "" => 0,
        whole => whole.parse().ok()?,
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (value, scale) = fraction
        .bytes()
        .take(9)
        .fold((0_u64, 1_u64), |(value, scale), digit| {
            (value * 10 + u64::from(digit - b'0'), scale * 10)
        });
    let part = (u128::from(value) << shift) / u128::from(scale);
    let bytes = (u128::from(whole) << shift) + part;
    u64::try_from(bytes).ok()
}

/// One line of CSV: fields between commas; a field in double quotes can have commas, and a double
/// quote written twice. `None` where a quote is anywhere else.
fn split_csv(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if !rest.starts_with('"') && field.contains('"') {
            return None;
        }
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// A field up to its closing quote, and what comes after.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flag: &str) -> Result<Mount, MountError> {
        MountFlag::parse(flag, Span::default())?.resolve(|word| Ok(word.replace("$V", "value")))
    }

    #[track_caller]
    fn check_error(flag: &str, expected: &str) {
        assert_eq!(resolve(flag).unwrap_err().to_string(), expected, "{flag}");
    }

    #[test]
    fn every_type_has_its_options() {
        let bind = resolve("target=/src,from=build,source=out,rw").unwrap();
        assert_eq!(bind.target.as_deref(), Some("/src"));
        assert!(!bind.read_only);
        let expected = MountKind::Bind {
            from: Some("build".into()),
            source: Some("out".into()),
        };
        assert_eq!(bind.kind, expected);
        let cache = resolve("type=cache,dst=/c,id=$V,sharing=locked,mode=0700,uid=3").unwrap();
        let owner = FileOptions {
            uid: Some(3),
            gid: None,
            mode: Some(0o700),
        };
        let expected = MountKind::Cache {
            id: Some("value".into()),
            from: None,
            source: None,
            sharing: Sharing::Locked,
            owner,
        };
        assert_eq!(cache.kind, expected);
        assert!(!cache.read_only);
        let tmpfs = resolve("type=tmpfs,target=/t,size=1.5m").unwrap();
        assert_eq!(
            tmpfs.kind,
            MountKind::Tmpfs {
                size: Some(1_572_864)
            }
        );
        assert!(matches!(
            resolve("type=secret,src=key,env=K,required").unwrap().kind,
            MountKind::Secret { id: Some(id), required: true, .. } if id == "key"
        ));
        assert!(matches!(
            resolve("type=ssh,required=true").unwrap().kind,
            MountKind::Ssh {
                id: None,
                required: true,
                ..
            }
        ));
    }

    #[test]
    fn fields_are_csv() {
        let mount = resolve(r#"type=bind,"target=/a,b""#).unwrap();
        assert_eq!(mount.target.as_deref(), Some("/a,b"));
        check_error(
            r#"type=bind,target="x"#,
            "the fields of the mount are not valid CSV",
        );
        check_error(
            r#""type=bind"x"#,
            "the fields of the mount are not valid CSV",
        );
    }

    #[test]
    fn wrong_mounts_say_why() {
        check_error("type=bnd", "unsupported mount type `bnd`");
        check_error("type=bind,taget=/x", "unexpected key `taget`");
        check_error("type=bind,target", "`target` must be a `key=value` pair");
        check_error("type=cache,mode=9", "invalid value `9` for `mode`");
        check_error(
            "type=tmpfs,mode=7",
            "unexpected key `mode` for a mount of type `tmpfs`",
        );
        check_error(
            "type=bind,size=1",
            "unexpected key `size` for a mount of type `bind`",
        );
        check_error("type=secret", "a secret mount needs an `id` or a `target`");
        check_error(
            "type=secret,id=a,src=b",
            "`id` and `source` of a secret mount can't both be set",
        );
        check_error(
            "from=$V,target=/x",
            "`from` doesn't support variable expansion",
        );
        let hint = resolve("type=bnd").unwrap_err().hint();
        assert_eq!(hint.as_deref(), Some("did you mean `bind`?"));
    }
}
