//! Which archives a suite is installed from: the host's own, turned to the suite that is wanted.

use std::collections::BTreeMap;

use crate::{Archive, BootstrapError, BootstrapRequest, Distribution, parse_list};

/// Suites that stand for a release, by the archive's own names. Only an archive whose suite is
/// among them can be asked for another release under the same address.
const DEBIAN_SUITES: &[&str] = &[
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

const UBUNTU_SUITES: &[&str] = &[
    "focal", "jammy", "noble", "oracular", "plucky", "questing", "resolute",
];

/// An archive to install from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The archive.
    pub(crate) archive: Archive,
    /// What is to be done when it turns out not to be there, or to be another's.
    pub(crate) need: Need,
}

/// How much a candidate matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The user named it: without it there is no image.
    Named,
    /// The suite itself, as the host's sources have it. Used if it is the distribution's own.
    Suite,
    /// Corrections and security updates. Used if it is there and the distribution's own.
    Companion,
}

/// The archives to try, in the order of the host's sources.
pub(crate) fn candidates(
    request: &BootstrapRequest,
    host: &[Archive],
) -> Result<Vec<Candidate>, BootstrapError> {
    if request.mirrors.is_empty() {
        let found = from_host(request, host);
        if found.iter().any(|candidate| candidate.need == Need::Suite) {
            return Ok(found);
        }
        return Err(BootstrapError::NoSources {
            distribution: request.distribution,
        });
    }
    let mut candidates = Vec::new();
    for mirror in &request.mirrors {
        for archive in from_mirror(request, mirror)? {
            let need = Need::Named;
            candidates.push(Candidate { archive, need });
        }
    }
    Ok(candidates)
}

fn from_mirror(request: &BootstrapRequest, mirror: &str) -> Result<Vec<Archive>, BootstrapError> {
    let is_address = mirror.contains(":/") && !mirror.contains(char::is_whitespace);
    if is_address {
        return Ok(vec![Archive {
            uri: mirror.trim_end_matches('/').to_owned(),
            suite: request.suite.clone(),
            components: request.components.clone(),
            signed_by: None,
            options: BTreeMap::new(),
        }]);
    }
    let archives = parse_list(mirror);
    if archives.is_empty() {
        return Err(BootstrapError::MirrorForm {
            mirror: mirror.to_owned(),
        });
    }
    Ok(archives)
}

fn from_host(request: &BootstrapRequest, host: &[Archive]) -> Vec<Candidate> {
    let exact = host
        .iter()
        .any(|archive| split(&archive.suite).0 == request.suite);
    let companions = request.distribution.companions(&request.suite);
    let mut candidates: Vec<Candidate> = Vec::new();
    for archive in host {
        let (suite, companion) = split(&archive.suite);
        let fits = if exact {
            suite == request.suite
        } else {
            suites(request.distribution).contains(&suite)
        };
        if !fits || !companions.contains(&companion) || archive.components.is_empty() {
            continue;
        }
        let candidate = Candidate {
            archive: Archive {
                suite: format!("{}{companion}", request.suite),
                components: request.components.clone(),
                ..archive.clone()
            },
            need: if companion.is_empty() {
                Need::Suite
            } else {
                Need::Companion
            },
        };
        if !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    candidates
}

fn suites(distribution: Distribution) -> &'static [&'static str] {
    match distribution {
        Distribution::Debian => DEBIAN_SUITES,
        Distribution::Ubuntu => UBUNTU_SUITES,
    }
}

/// `bookworm-security` is `bookworm` and `-security`; what is no companion stays whole.
fn split(suite: &str) -> (&str, &str) {
    for companion in ["-updates", "-security"] {
        if let Some(base) = suite.strip_suffix(companion) {
            return (base, &suite[base.len()..]);
        }
    }
    (suite, "")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const HOST: &str = "\
        deb http://mirror.example/debian bookworm main contrib\n\
        deb http://mirror.example/debian bookworm-updates main\n\
        deb http://mirror.example/debian bookworm-backports main\n\
        deb http://mirror.example/debian-security bookworm-security main\n\
        deb http://tools.example/node nodistro main\n\
        deb http://tools.example/flat ./\n";

    #[track_caller]
    fn check(name: &str, host: &str, mirrors: &[&str], expected: &Expect) {
        let mut request = BootstrapRequest::new(name.parse().unwrap(), None).unwrap();
        request.mirrors = mirrors.iter().map(|&mirror| mirror.to_owned()).collect();
        let text = match candidates(&request, &parse_list(host)) {
            Ok(candidates) => {
                let lines = candidates.iter().map(|Candidate { archive, need }| {
                    let components = archive.components.join(" ");
                    format!("{need:?}: {} {} {components}\n", archive.uri, archive.suite)
                });
                lines.collect()
            }
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_suite_of_the_host() {
        check(
            "debian:bookworm",
            HOST,
            &[],
            &expect![[r"
                Suite: http://mirror.example/debian bookworm main
                Companion: http://mirror.example/debian bookworm-updates main
                Companion: http://mirror.example/debian-security bookworm-security main
            "]],
        );
    }

    #[test]
    fn another_suite_from_the_same_archives() {
        check(
            "debian:trixie",
            HOST,
            &[],
            &expect![[r"
                Suite: http://mirror.example/debian trixie main
                Companion: http://mirror.example/debian trixie-updates main
                Companion: http://mirror.example/debian-security trixie-security main
            "]],
        );
        check(
            "debian:sid",
            HOST,
            &[],
            &expect![[r"
                Suite: http://mirror.example/debian sid main
            "]],
        );
    }

    #[test]
    fn a_mirror_instead_of_the_hosts_sources() {
        check(
            "debian:bookworm",
            HOST,
            &[
                "http://other.example/debian/",
                "deb [trusted=yes] file:/srv/repo bookworm-security main",
            ],
            &expect![[r"
                Named: http://other.example/debian bookworm main
                Named: file:/srv/repo bookworm-security main
            "]],
        );
        check(
            "debian:bookworm",
            HOST,
            &["other.example"],
            &expect![[r"
                `other.example` is neither an address nor a `deb` line
            "]],
        );
    }

    #[test]
    fn a_host_without_the_distributions_sources() {
        check(
            "ubuntu:24.04",
            HOST,
            &[],
            &expect![[r"
                apt on this host has no source of Ubuntu packages
            "]],
        );
    }
}
