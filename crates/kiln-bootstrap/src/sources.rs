//! Package sources as apt writes them: one-line `sources.list` files and deb822 `.sources` files.
//!
//! Reading gives one [`Archive`] for each pair of address and suite, since that is what a Release
//! file belongs to. Source packages, disabled entries and media that have to be put in by hand are
//! left out: a base image is made of binary packages from reachable archives. Nothing here reads a
//! file or knows the name of any host.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One suite of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Where it is, without a trailing slash.
    pub uri: String,
    /// The suite, for example `bookworm-updates`; an exact path ends in `/`.
    pub suite: String,
    /// Parts of the suite, for example `main`; none with an exact path.
    pub components: Vec<String>,
    /// Absolute path of a keyring, or the key itself.
    pub signed_by: Option<String>,
    /// Options that decide whether the archive is believed: `Trusted`, `Check-Valid-Until`,
    /// `Check-Date`.
    pub options: BTreeMap<&'static str, String>,
}

/// Options of a source that are carried on, by their names in a `.sources` file.
const OPTIONS: &[&str] = &["Check-Date", "Check-Valid-Until", "Trusted"];

impl Archive {
    /// The address without a user name and password.
    fn public_uri(&self) -> String {
        let Some((scheme, rest)) = self.uri.split_once("://") else {
            return self.uri.clone();
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        format!("{scheme}://{host}{path}")
    }

    /// The address of a file beside the suite's Release file.
    pub(crate) fn release_url(&self, file: &str) -> String {
        if self.suite.ends_with('/') {
            let suite = self.suite.trim_start_matches('/');
            let suite = if suite == "./" { "" } else { suite };
            return format!("{}/{suite}{file}", self.uri);
        }
        format!("{}/dists/{}/{file}", self.uri, self.suite)
    }
}

/// Reads a `sources.list` file: one source in a line. Lines that are no source are passed over.
pub fn parse_list(text: &str) -> Vec<Archive> {
    text.lines().filter_map(parse_list_line).collect()
}

fn parse_list_line(line: &str) -> Option<Archive> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?;
    let suite = words.next()?.to_owned();
    let components = words.map(str::to_owned).collect();
    let mut archive = Archive {
        uri: reachable(uri)?,
        suite,
        components,
        signed_by: None,
        options: BTreeMap::new(),
    };
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=')?;
        archive.set_option(name, value);
    }
    Some(archive)
}

/// Reads a deb822 file: stanzas of fields. Stanzas that lack a field they need are passed over.
pub fn parse_deb822(text: &str) -> Vec<Archive> {
    let mut archives = Vec::new();
    let mut stanza = BTreeMap::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            archives.extend(stanza_archives(&std::mem::take(&mut stanza)));
        } else {
            add_line(&mut stanza, line);
        }
    }
    archives
}

/// Fields of one stanza: lower-case name, and the value with its continuation lines.
type Stanza = BTreeMap<String, String>;

fn add_line(stanza: &mut Stanza, line: &str) {
    const LAST: &str = "\0last";
    if line.starts_with('#') {
        return;
    }
    if line.starts_with([' ', '\t']) {
        let last = stanza.get(LAST).cloned();
        if let Some(value) = last.and_then(|last| stanza.get_mut(&last)) {
            value.push('\n');
            value.push_str(line.trim_end());
        }
        return;
    }
    if let Some((name, value)) = line.split_once(':') {
        let name = name.trim().to_ascii_lowercase();
        stanza.insert(name.clone(), value.trim().to_owned());
        stanza.insert(LAST.to_owned(), name);
    }
}

fn stanza_archives(stanza: &Stanza) -> Vec<Archive> {
    let words = |name: &str| -> Vec<String> {
        let value = stanza.get(name).map_or("", String::as_str);
        value.split_whitespace().map(str::to_owned).collect()
    };
    let enabled = stanza.get("enabled").is_none_or(|value| is_yes(value));
    if !enabled || !words("types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let mut archives = Vec::new();
    for uri in words("uris").iter().filter_map(|uri| reachable(uri)) {
        for suite in words("suites") {
            let mut archive = Archive {
                uri: uri.clone(),
                suite,
                components: words("components"),
                signed_by: None,
                options: BTreeMap::new(),
            };
            for (name, value) in stanza {
                archive.set_option(name, value);
            }
            archives.push(archive);
        }
    }
    archives
}

impl Archive {
    fn set_option(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("signed-by") {
            self.signed_by = Some(value.to_owned());
        }
        let known = OPTIONS
            .iter()
            .find(|known| known.eq_ignore_ascii_case(name));
        if let Some(known) = known {
            self.options.insert(known, value.to_owned());
        }
    }
}

/// The address without trailing slashes, unless it is one that a build can't reach.
fn reachable(uri: &str) -> Option<String> {
    let by_hand = uri.starts_with("cdrom:");
    (!by_hand).then(|| uri.trim_end_matches('/').to_owned())
}

fn is_yes(value: &str) -> bool {
    !matches!(
        value.trim(),
        "no" | "false" | "without" | "off" | "disable" | "0"
    )
}

/// The first address in a file that a `mirror+file:` source names.
pub(crate) fn first_mirror(list: &str) -> Option<&str> {
    let mut lines = list.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    line.split_whitespace().next()
}

/// Writes a deb822 file, without credentials: one stanza for suites that differ in nothing else.
pub fn print_deb822(archives: &[Archive]) -> String {
    print(archives, Archive::public_uri)
}

/// As [`print_deb822`], with the user names and passwords that the addresses hold: for apt on the
/// host, never for an image.
pub(crate) fn print_deb822_with_credentials(archives: &[Archive]) -> String {
    print(archives, |archive| archive.uri.clone())
}

fn print(archives: &[Archive], uri: impl Fn(&Archive) -> String) -> String {
    let mut stanzas: Vec<(&Archive, Vec<&str>)> = Vec::new();
    for archive in archives {
        match stanzas.last_mut() {
            Some((first, suites)) if differ_in_suite_only(first, archive) => {
                suites.push(&archive.suite);
            }
            _ => stanzas.push((archive, vec![&archive.suite])),
        }
    }
    let texts = stanzas.iter().map(|(archive, suites)| {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\n",
            uri(archive),
            suites.join(" ")
        );
        if !archive.components.is_empty() {
            let _ = writeln!(text, "Components: {}", archive.components.join(" "));
        }
        if let Some(key) = &archive.signed_by {
            let separator = if key.starts_with('\n') { "" } else { " " };
            let _ = writeln!(text, "Signed-By:{separator}{key}");
        }
        for (name, value) in &archive.options {
            let _ = writeln!(text, "{name}: {value}");
        }
        text
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn differ_in_suite_only(one: &Archive, other: &Archive) -> bool {
    let renamed = Archive {
        suite: one.suite.clone(),
        ..other.clone()
    };
    // Suites that end in `/` have no components, and can't share a stanza with those that have.
    *one == renamed && one.suite.ends_with('/') == other.suite.ends_with('/')
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check_list(text: &str, expected: &Expect) {
        expected.assert_eq(&print_deb822(&parse_list(text)));
    }

    #[track_caller]
    fn check_deb822(text: &str, expected: &Expect) {
        expected.assert_eq(&print_deb822(&parse_deb822(text)));
    }

    #[test]
    fn one_line_sources() {
        check_list(
            "# a comment\n\
             deb http://mirror.example/debian/ bookworm main contrib # the rest\n\
             deb-src http://mirror.example/debian bookworm main\n\
             deb [arch=amd64 signed-by=/etc/keys/a.gpg trusted=yes] http://mirror.example/debian bookworm-updates main\n\
             deb cdrom:[Debian]/ bookworm main\n\
             deb http://flat.example/repo ./\n\
             debian is not a source\n\
             deb http://half.example\n",
            &expect![[r"
                Types: deb
                URIs: http://mirror.example/debian
                Suites: bookworm
                Components: main contrib

                Types: deb
                URIs: http://mirror.example/debian
                Suites: bookworm-updates
                Components: main
                Signed-By: /etc/keys/a.gpg
                Trusted: yes

                Types: deb
                URIs: http://flat.example/repo
                Suites: ./
            "]],
        );
    }

    #[test]
    fn deb822_sources() {
        check_deb822(
            "Types: deb deb-src\n\
             # where from\n\
             URIs: http://mirror.example/debian\n\
             Suites: bookworm\n bookworm-updates\n\
             Components: main\n\
             Check-Valid-Until: no\n\
             Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\
             \n\
             Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: a\nComponents: b\n\
             \n\
             Types: deb-src\nURIs: http://sources.example\nSuites: a\nComponents: b\n",
            &expect![[r"
                Types: deb
                URIs: http://mirror.example/debian
                Suites: bookworm bookworm-updates
                Components: main
                Signed-By:
                 -----BEGIN PGP PUBLIC KEY BLOCK-----
                 .
                 abc
                Check-Valid-Until: no
            "]],
        );
    }

    #[test]
    fn what_is_printed_reads_the_same() {
        let archives = parse_list(
            "deb [signed-by=/a.gpg check-date=no] http://mirror.example/debian sid main contrib\n\
             deb http://mirror.example/debian sid-updates main\n\
             deb http://flat.example/repo ./\n",
        );
        assert_eq!(parse_deb822(&print_deb822(&archives)), archives);
    }

    #[test]
    fn credentials_are_not_printed_for_an_image() {
        let archives = parse_list("deb https://user:secret@mirror.example/debian bookworm main\n");
        assert!(print_deb822_with_credentials(&archives).contains("user:secret@"));
        check_list(
            "deb https://user:secret@mirror.example/debian bookworm main\n",
            &expect![[r"
                Types: deb
                URIs: https://mirror.example/debian
                Suites: bookworm
                Components: main
            "]],
        );
    }

    #[test]
    fn release_files_are_beside_the_suite() {
        let url = |line: &str| parse_list(line)[0].release_url("InRelease");
        assert_eq!(
            url("deb http://mirror.example/debian sid main"),
            "http://mirror.example/debian/dists/sid/InRelease"
        );
        assert_eq!(
            url("deb http://mirror.example/repo ./"),
            "http://mirror.example/repo/InRelease"
        );
        assert_eq!(
            url("deb http://mirror.example/repo stable/"),
            "http://mirror.example/repo/stable/InRelease"
        );
    }

    #[test]
    fn a_mirror_list_begins_with_the_best() {
        let list = "# mirrors\n\nhttps://mirror.example/debian\tpriority:1\nhttps://b.example\n";
        assert_eq!(first_mirror(list), Some("https://mirror.example/debian"));
        assert_eq!(first_mirror("# none\n"), None);
    }
}
