//! The helper's command line: pure text, so that it can be looked at without running anything.

use std::fmt::Write as _;
use std::path::Path;

use crate::architecture::Architecture;
use crate::sources::Archive;
use crate::{BootstrapRequest, Documentation};

/// Where the helper's files are, inside the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paths<'a> {
    /// The folder to fill.
    pub(crate) target: &'a Path,
    /// The sources to install from, in deb822.
    pub(crate) sources: &'a Path,
    /// The host's settings of fetching.
    pub(crate) acquire: &'a Path,
    /// Preferences that keep `usrmerge` out.
    pub(crate) preferences: &'a Path,
}

/// Files that are in the tree only while packages are installed; relative to its root.
pub(crate) const TEMPORARY: &[&str] = &[
    "etc/apt/apt.conf.d/00kiln-acquire",
    "etc/apt/preferences.d/kiln-usrmerge",
];

/// `usrmerge` turns an old system into one with a merged `/usr`, and needs all of Perl for that. A
/// new system is merged from the start and takes the empty package `usr-is-merged` instead.
pub(crate) const PREFERENCES: &str = "\
Package: usrmerge
Pin: release *
Pin-Priority: -1
";

/// Settings of apt that an image keeps: nothing that fills layers without being of use in them.
///
/// They come into the image after the installation, since mmdebstrap needs the downloaded packages
/// to stay where they are until it has installed them.
pub(crate) const APT_SETTINGS: &str = "\
# Packages that were installed, and texts that nobody reads in a container, only fill layers.
Acquire::GzipIndexes \"true\";
Acquire::Languages \"none\";
APT::AutoRemove::SuggestsImportant \"false\";
APT::Keep-Downloaded-Packages \"false\";
";

/// Where [`APT_SETTINGS`] are in the image.
pub(crate) const APT_SETTINGS_FILE: &str = "etc/apt/apt.conf.d/90container";

/// A build that loses power is run again: dpkg need not wait for the disk after each file.
const DPKG_OPTIONS: &[&str] = &["force-unsafe-io"];

const WITHOUT_DOCUMENTATION: &[&str] = &[
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/groff/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/linda/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/man/*",
];

/// The program and its arguments.
pub(crate) fn arguments(
    request: &BootstrapRequest,
    architecture: Architecture,
    archives: &[Archive],
    paths: Paths<'_>,
) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "mmdebstrap",
        // Only messages and progress of the programs it runs, without drawn bars.
        "--verbose",
        // kiln is uid 0 of its namespace already.
        "--mode=root",
        "--format=directory",
        // Whether foreign programs run is known here, and `arch-test` need not be installed.
        "--skip=check/qemu",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--variant={}", request.variant.name()));
    arguments.push(format!("--architectures={}", architecture.debian));
    let slim: &[&str] = match request.documentation {
        Documentation::Keep => &[],
        Documentation::Drop => WITHOUT_DOCUMENTATION,
    };
    let dpkg = DPKG_OPTIONS.iter().chain(slim);
    arguments.extend(dpkg.map(|option| format!("--dpkgopt={option}")));
    arguments.extend(
        request
            .include
            .iter()
            .map(|package| format!("--include={package}")),
    );
    arguments.push(format!("--setup-hook={}", setup_hook(architecture, paths)));
    if archives
        .iter()
        .any(|archive| archive.uri.starts_with("file:"))
    {
        let hook = "/usr/share/mmdebstrap/hooks/file-mirror-automount";
        arguments.push(format!("--hook-directory={hook}"));
    }
    arguments.push("--".to_owned());
    arguments.push(request.suite.clone());
    arguments.push(paths.target.display().to_string());
    arguments.push(paths.sources.display().to_string());
    arguments
}

/// Shell commands that run in the empty tree before anything is installed.
fn setup_hook(architecture: Architecture, paths: Paths<'_>) -> String {
    let mut script = String::from("set -e");
    // The links that the architecture's loader and programs are reached by.
    let folders: &[&str] = match architecture.debian {
        "amd64" | "ppc64el" | "mips64el" => &["bin", "lib", "lib64", "sbin"],
        _ => &["bin", "lib", "sbin"],
    };
    for folder in folders {
        let _ = write!(
            script,
            "; mkdir -p \"$1/usr/{folder}\"; ln -s usr/{folder} \"$1/{folder}\""
        );
    }
    let copies = [paths.acquire, paths.preferences]
        .into_iter()
        .zip(TEMPORARY);
    for (from, to) in copies {
        let from = quoted(&from.display().to_string());
        let _ = write!(
            script,
            "; mkdir -p \"$(dirname \"$1/{to}\")\"; cp {from} \"$1/{to}\""
        );
    }
    script
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::parse_list;

    #[test]
    fn the_whole_command_line() {
        let mut request =
            BootstrapRequest::new("debian:bookworm-slim".parse().unwrap(), None).unwrap();
        request.include = vec!["ca-certificates".to_owned()];
        let architecture = Architecture::of(&"linux/arm64".parse().unwrap()).unwrap();
        let paths = Paths {
            target: Path::new("/store/new/fs"),
            sources: Path::new("/store/new/debian.sources"),
            acquire: Path::new("/store/it's/acquire"),
            preferences: Path::new("/store/new/preferences"),
        };
        let archives = parse_list("deb file:/srv/repo bookworm main");
        let arguments = arguments(&request, architecture, &archives, paths);
        expect![[r#"
            mmdebstrap
            --verbose
            --mode=root
            --format=directory
            --skip=check/qemu
            --variant=minbase
            --architectures=arm64
            --dpkgopt=force-unsafe-io
            --dpkgopt=path-exclude=/usr/share/doc/*
            --dpkgopt=path-include=/usr/share/doc/*/copyright
            --dpkgopt=path-exclude=/usr/share/groff/*
            --dpkgopt=path-exclude=/usr/share/info/*
            --dpkgopt=path-exclude=/usr/share/linda/*
            --dpkgopt=path-exclude=/usr/share/lintian/*
            --dpkgopt=path-exclude=/usr/share/locale/*
            --dpkgopt=path-include=/usr/share/locale/locale.alias
            --dpkgopt=path-exclude=/usr/share/man/*
            --include=ca-certificates
            --setup-hook=set -e; mkdir -p "$1/usr/bin"; ln -s usr/bin "$1/bin"; mkdir -p "$1/usr/lib"; ln -s usr/lib "$1/lib"; mkdir -p "$1/usr/sbin"; ln -s usr/sbin "$1/sbin"; mkdir -p "$(dirname "$1/etc/apt/apt.conf.d/00kiln-acquire")"; cp '/store/it'\''s/acquire' "$1/etc/apt/apt.conf.d/00kiln-acquire"; mkdir -p "$(dirname "$1/etc/apt/preferences.d/kiln-usrmerge")"; cp '/store/new/preferences' "$1/etc/apt/preferences.d/kiln-usrmerge"
            --hook-directory=/usr/share/mmdebstrap/hooks/file-mirror-automount
            --
            bookworm
            /store/new/fs
            /store/new/debian.sources"#]]
        .assert_eq(&arguments.join("\n"));
    }
}
