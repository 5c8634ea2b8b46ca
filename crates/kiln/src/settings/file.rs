//! Configuration files: TOML in, a layer of settings and a table of registries out.
//!
//! Unknown names are errors with file and line: a setting that is silently ignored is worse than a
//! file that is refused. What a value means is decided in [`super::Settings`], by the same parser
//! that reads flags and variables; here only its TOML type is checked.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_dockerfile::did_you_mean;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, Kind, ROWS};
use super::layer::Layer;

/// What a configuration file holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    pub(crate) layer: Layer,
    /// By host, as in `docker.io` or `registry.example:5000`.
    pub(crate) registries: BTreeMap<String, RegistryEntry>,
}

/// `[registry."HOST"]`: how one registry is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RegistryEntry {
    /// Hosts that are asked first, in order; a path may follow the host.
    pub(crate) mirrors: Vec<String>,
    /// Speak HTTP instead of HTTPS.
    pub(crate) plain_http: bool,
    /// Accept any certificate.
    pub(crate) insecure: bool,
    /// PEM files with certificate authorities to trust, besides the system's.
    pub(crate) ca: Vec<PathBuf>,
    /// A PEM file with the certificate kiln shows to the registry.
    pub(crate) client_cert: Option<PathBuf>,
    /// A PEM file with the certificate's key.
    pub(crate) client_key: Option<PathBuf>,
}

/// Why a configuration file can't be used: the file, the line and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileError {
    pub(crate) path: PathBuf,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    pub(crate) message: String,
    /// The line's text.
    pub(crate) source_line: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

impl std::error::Error for FileError {}

impl FileError {
    fn new(path: &Path, text: &str, span: &Range<usize>, message: impl Into<String>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            path: path.to_owned(),
            line: line_of(text, start),
            column: text[line_start..start].chars().count() + 1,
            message: message.into(),
            source_line: text[line_start..]
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// The line with a caret below it.
    pub(crate) fn excerpt(&self) -> String {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let indent = " ".repeat(self.column - 1);
        let line = self.source_line.replace('\t', " ");
        format!("{gutter} |\n{number} | {line}\n{gutter} | {indent}^\n")
    }
}

/// Reads a configuration file's text; relative paths in it count from the file's directory.
pub(crate) fn parse(path: &Path, text: &str) -> Result<ConfigFile, FileError> {
    let fail = |span: Range<usize>, message: String| FileError::new(path, text, &span, message);
    let document = DeTable::parse(text)
        .map_err(|error| fail(error.span().unwrap_or_default(), error.message().to_owned()))?;
    let mut values = Vec::new();
    let mut registries = BTreeMap::new();
    for (name, value) in document.into_inner() {
        if name.as_ref() == "registry" {
            registries = parse_registries(path, text, value)?;
            continue;
        }
        let Some(key) = Key::named(name.as_ref()) else {
            return Err(fail(name.span(), unknown_setting(name.as_ref())));
        };
        let span = value.span();
        let written = scalar(key, value.as_ref()).map_err(|wrong| fail(span.clone(), wrong))?;
        values.push((key, written, line_of(text, span.start)));
    }
    Ok(ConfigFile {
        layer: Layer::from_file(&Arc::new(path.to_owned()), values),
        registries,
    })
}

fn parse_registries(
    path: &Path,
    text: &str,
    value: Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, RegistryEntry>, FileError> {
    let span = value.span();
    let entries: BTreeMap<String, RegistryEntry> = Deserialize::deserialize(
        toml::de::ValueDeserializer::from(value),
    )
    .map_err(|error: toml::de::Error| {
        let span = error.span().unwrap_or_else(|| span.clone());
        FileError::new(path, text, &span, error.message())
    })?;
    let base = path.parent().unwrap_or(Path::new("/"));
    Ok(entries
        .into_iter()
        .map(|(host, entry)| (host, entry.relative_to(base)))
        .collect())
}

impl RegistryEntry {
    fn relative_to(mut self, base: &Path) -> Self {
        for file in &mut self.ca {
            *file = base.join(&*file);
        }
        self.client_cert = self.client_cert.map(|file| base.join(file));
        self.client_key = self.client_key.map(|file| base.join(file));
        self
    }
}

/// A value as the text that a flag or a variable would hold.
fn scalar(key: Key, value: &DeValue<'_>) -> Result<String, String> {
    let row = key.row();
    match (row.kind, value) {
        (Kind::Text | Kind::SwitchOrText, DeValue::String(text)) => Ok(text.to_string()),
        (Kind::Number, DeValue::Integer(number)) => Ok(number.to_string()),
        (Kind::Switch | Kind::SwitchOrText, DeValue::Boolean(switch)) => Ok(switch.to_string()),
        _ => {
            let wanted = match row.kind {
                Kind::Text => "a text in quotes",
                Kind::Number => "a number",
                Kind::Switch => "`true` or `false`",
                Kind::SwitchOrText => "`true`, `false` or a text in quotes",
            };
            Err(format!("`{}` takes {wanted}", row.name))
        }
    }
}

fn unknown_setting(name: &str) -> String {
    let names = ROWS.iter().map(|row| row.name).chain(["registry"]);
    match did_you_mean(name, names) {
        Some(near) => format!("there is no setting `{name}`; did you mean `{near}`?"),
        None => format!("there is no setting `{name}`"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..text.floor_char_boundary(offset)]
        .matches('\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(text: &str, expected: Expect) {
        let actual = match parse(Path::new("/etc/kiln/config.toml"), text) {
            Ok(file) => {
                let settings = ROWS.iter().filter_map(|row| {
                    let written = file.layer.get(row.key)?;
                    Some(format!(
                        "{} = {} ({})\n",
                        row.name, written.text, written.origin
                    ))
                });
                let registries = file
                    .registries
                    .iter()
                    .map(|(host, entry)| format!("{host}: {entry:?}\n"));
                settings.chain(registries).collect()
            }
            Err(error) => format!("error: {error}\n{}", error.excerpt()),
        };
        expected.assert_eq(&actual);
    }

    #[test]
    fn settings_remember_their_lines() {
        check(
            "# ours\nroot = \"/srv/kiln\"\njobs = 4\n\ntrust-host-cas = true\n",
            expect![[r#"
                root = /srv/kiln (/etc/kiln/config.toml:2)
                jobs = 4 (/etc/kiln/config.toml:3)
                trust-host-cas = true (/etc/kiln/config.toml:5)
            "#]],
        );
    }

    #[test]
    fn registries_resolve_their_files_from_the_configuration() {
        check(
            "[registry.\"docker.io\"]\nmirrors = [\"mirror.example:5000\"]\nca = [\"ca.pem\"]\n",
            expect![[r#"
                docker.io: RegistryEntry { mirrors: ["mirror.example:5000"], plain_http: false, insecure: false, ca: ["/etc/kiln/ca.pem"], client_cert: None, client_key: None }
            "#]],
        );
    }

    #[test]
    fn what_is_unknown_is_refused_with_its_line() {
        check(
            "jobs = 2\nprogess = \"tty\"\n",
            expect![[r#"
                error: /etc/kiln/config.toml:2: there is no setting `progess`; did you mean `progress`?
                  |
                2 | progess = "tty"
                  | ^
            "#]],
        );
        check(
            "[registry.\"docker.io\"]\nmirror = []\n",
            expect![[r#"
                error: /etc/kiln/config.toml:2: unknown field `mirror`, expected one of `mirrors`, `plain-http`, `insecure`, `ca`, `client-cert`, `client-key`
                  |
                2 | mirror = []
                  | ^
            "#]],
        );
    }

    #[test]
    fn types_are_checked() {
        check(
            "jobs = \"many\"\n",
            expect![[r#"
                error: /etc/kiln/config.toml:1: `jobs` takes a number
                  |
                1 | jobs = "many"
                  |        ^
            "#]],
        );
    }

    #[test]
    fn broken_toml_is_shown() {
        check(
            "jobs = \n",
            expect![[r#"
                error: /etc/kiln/config.toml:1: string values must be quoted, expected literal string
                  |
                1 | jobs = 
                  |        ^
            "#]],
        );
    }
}
