//! kiln as a plugin of the docker command: `docker buildx build` runs it where it is installed as
//! `~/.docker/cli-plugins/docker-buildx`.
//!
//! docker starts a plugin with its own words, `docker-buildx [OPTIONS] buildx build …`, and asks
//! each for a document about itself before. Deliberately absent: docker's contexts, of which kiln
//! would need the socket only; `--host` names it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The name that makes a program buildx.
const NAME: &str = "docker-buildx";
/// What docker calls the plugin.
const WORD: &str = "buildx";
/// What docker asks for the document.
const METADATA: &str = "docker-cli-plugin-metadata";

/// What a start as a plugin comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The document is asked for.
    Metadata,
    /// A command line of kiln's, and variables that docker's own options stand for.
    Command {
        words: Vec<OsString>,
        variables: Vec<(&'static str, OsString)>,
    },
    /// An option of docker's that kiln can't honour.
    Refused(String),
}

/// Reads a command line; one that does not begin with buildx's name is kiln's own.
pub(crate) fn start(words: Vec<OsString>) -> Start {
    let is_plugin = words
        .first()
        .and_then(|word| Path::new(word).file_name())
        .is_some_and(|name| name == NAME);
    if !is_plugin {
        return Start::Command {
            words,
            variables: Vec::new(),
        };
    }
    if words.get(1).is_some_and(|word| word == METADATA) {
        return Start::Metadata;
    }
    let mut variables = Vec::new();
    let mut rest = words.into_iter().skip(1).peekable();
    while let Some(word) = rest.next_if(|word| is_option(word)) {
        let text = word.to_string_lossy().into_owned();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(OsString::from(value))),
            None => (text, None),
        };
        match name.as_str() {
            "--config" | "-H" | "--host" => {
                let value = value.or_else(|| rest.next());
                let variable = if name == "--config" {
                    "DOCKER_CONFIG"
                } else {
                    "DOCKER_HOST"
                };
                variables.extend(value.map(|value| (variable, value)));
            }
            "-D" | "--debug" | "--tls" | "--tlsverify" => {}
            "-l" | "--log-level" | "--tlscacert" | "--tlscert" | "--tlskey" => {
                _ = value.or_else(|| rest.next());
            }
            "-c" | "--context" => {
                let context = value.or_else(|| rest.next()).unwrap_or_default();
                if context != "default" {
                    return Start::Refused(format!(
                        "kiln knows no docker context `{}`",
                        context.to_string_lossy()
                    ));
                }
            }
            // Not docker's: help and version are kiln's to answer.
            _ => {
                let words = [OsString::from("kiln"), WORD.into(), word];
                return Start::Command {
                    words: words.into_iter().chain(rest).collect(),
                    variables,
                };
            }
        }
    }
    rest.next_if(|word| word == WORD);
    let words = [OsString::from("kiln"), WORD.into()];
    Start::Command {
        words: words.into_iter().chain(rest).collect(),
        variables,
    }
}

fn is_option(word: &OsStr) -> bool {
    word.to_string_lossy().starts_with('-')
}

/// What docker wants to know about a plugin.
pub(crate) fn metadata() -> String {
    let document = serde_json::json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "the kiln authors",
        "Version": concat!("v", env!("CARGO_PKG_VERSION")),
        "ShortDescription": "kiln, in place of Docker Buildx",
    });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`expect!` makes a value")]
    fn check(lines: &[&str], expected: Expect) {
        let mut text = String::new();
        for line in lines {
            let words = line.split_whitespace().map(OsString::from).collect();
            _ = writeln!(text, "{line}\n    {:?}", start(words));
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn only_the_name_makes_a_plugin() {
        check(
            &[
                "kiln build .",
                "/usr/bin/docker-buildx docker-cli-plugin-metadata",
                "docker-buildx buildx build -t a .",
                "docker-buildx build .",
                "docker-buildx --config /c -H unix:///s -D --tlscert=x buildx build -D .",
                "docker-buildx --context default buildx bake",
                "docker-buildx --context far buildx bake",
                "docker-buildx --help",
                "docker-buildx",
            ],
            expect![[r#"
                kiln build .
                    Command { words: ["kiln", "build", "."], variables: [] }
                /usr/bin/docker-buildx docker-cli-plugin-metadata
                    Metadata
                docker-buildx buildx build -t a .
                    Command { words: ["kiln", "buildx", "build", "-t", "a", "."], variables: [] }
                docker-buildx build .
                    Command { words: ["kiln", "buildx", "build", "."], variables: [] }
                docker-buildx --config /c -H unix:///s -D --tlscert=x buildx build -D .
                    Command { words: ["kiln", "buildx", "build", "-D", "."], variables: [("DOCKER_CONFIG", "/c"), ("DOCKER_HOST", "unix:///s")] }
                docker-buildx --context default buildx bake
                    Command { words: ["kiln", "buildx", "bake"], variables: [] }
                docker-buildx --context far buildx bake
                    Refused("kiln knows no docker context `far`")
                docker-buildx --help
                    Command { words: ["kiln", "buildx", "--help"], variables: [] }
                docker-buildx
                    Command { words: ["kiln", "buildx"], variables: [] }
            "#]],
        );
    }
}
