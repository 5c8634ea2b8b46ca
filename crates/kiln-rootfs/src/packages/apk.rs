//! apk's database: `lib/apk/db/installed`, and `etc/apk/world`, which has what was asked for.

use std::collections::BTreeSet;
use std::ops::Range;

use kiln_disk::{Contents, Tree};

use super::graph::{Atom, Operator, Package, Provision, Purpose};
use super::{DatabaseError, MAX_DATABASE};
use crate::paths;

/// Where the database is; newer versions keep it below `usr`.
pub const INSTALLED: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
/// What was asked for.
pub const WORLD: &str = "etc/apk/world";

/// A package of the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApkPackage {
    /// What the graph wants to know.
    pub package: Package,
    /// Its files: paths from the root.
    pub files: Vec<String>,
    /// Its directories.
    pub directories: Vec<String>,
    /// Its checksum, by which scripts and triggers know it.
    pub checksum: String,
    /// Its paragraph of the database, with the empty line after it.
    pub paragraph: Range<usize>,
}

/// The database, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    /// The path of the file.
    pub path: String,
    /// Its bytes.
    pub text: Vec<u8>,
    /// The packages.
    pub packages: Vec<ApkPackage>,
}

/// Reads the database; `None` where there is none.
pub fn read(tree: &Tree, contents: &dyn Contents) -> Result<Option<Installed>, DatabaseError> {
    let get = |path: &str| {
        paths::read_or_empty(tree, contents, path.as_bytes(), MAX_DATABASE).map_err(|cause| {
            DatabaseError::Read {
                path: path.to_owned(),
                cause,
            }
        })
    };
    for path in INSTALLED {
        let text = get(path)?;
        if text.is_empty() {
            continue;
        }
        let world = get(WORLD)?;
        let packages = parse(&text, &world_names(&String::from_utf8_lossy(&world)));
        return Ok(Some(Installed {
            path: path.to_owned(),
            text,
            packages,
        }));
    }
    Ok(None)
}

/// The names in a world file.
pub fn world_names(text: &str) -> BTreeSet<String> {
    let words = text.split_ascii_whitespace();
    words
        .filter_map(|word| atom(word).map(|atom| atom.name))
        .collect()
}

/// Reads the text of a database; `world` has the packages that were asked for.
pub fn parse(text: &[u8], world: &BTreeSet<String>) -> Vec<ApkPackage> {
    super::dpkg::paragraphs(text)
        .filter_map(|range| {
            let paragraph = String::from_utf8_lossy(&text[range.clone()]);
            let mut apk = package(&paragraph)?;
            apk.package.automatic = !world.contains(&apk.package.name);
            apk.paragraph = range;
            Some(apk)
        })
        .collect()
}

fn package(paragraph: &str) -> Option<ApkPackage> {
    let mut apk = ApkPackage::default();
    let mut directory = String::new();
    for line in paragraph.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let package = &mut apk.package;
        match key {
            "P" => value.clone_into(&mut package.name),
            "V" => value.clone_into(&mut package.version),
            "C" => value.clone_into(&mut apk.checksum),
            "D" => package.requires = atoms(value).map(|atom| vec![atom]).collect(),
            "p" => package.provides = atoms(value).map(provision).collect(),
            "F" => {
                value.clone_into(&mut directory);
                apk.directories.push(directory.clone());
            }
            "R" if directory.is_empty() => apk.files.push(value.to_owned()),
            "R" => apk.files.push(format!("{directory}/{value}")),
            _ => {}
        }
    }
    let name = &apk.package.name;
    if name.is_empty() {
        return None;
    }
    if is_development(name) {
        apk.package.purpose = Purpose::Development;
    }
    apk.package.pinned = matches!(
        name.as_str(),
        "musl" | "busybox" | "alpine-baselayout" | "alpine-keys" | "apk-tools" | "libc-utils"
    );
    Some(apk)
}

/// By Alpine's names: subpackages end in what they are for, and there is no section.
fn is_development(name: &str) -> bool {
    let ends = ["-dev", "-static", "-dbg"];
    let tools = [
        "abuild",
        "autoconf",
        "automake",
        "binutils",
        "bison",
        "build-base",
        "clang",
        "cmake",
        "flex",
        "fortify-headers",
        "g++",
        "gcc",
        "gdb",
        "libtool",
        "linux-headers",
        "lld",
        "llvm",
        "m4",
        "make",
        "meson",
        "patch",
        "pkgconf",
        "samurai",
        "strace",
        "valgrind",
    ];
    ends.iter().any(|end| name.ends_with(end))
        || tools.contains(&name)
        // What `apk add --virtual` is used for; `.run-deps` and the like stay.
        || (name.starts_with('.') && name.contains("build"))
}

fn atoms(text: &str) -> impl Iterator<Item = Atom> {
    text.split_ascii_whitespace().filter_map(atom)
}

/// `name`, `name>=version`, `name@tag`; conflicts (`!name`) are nothing that is needed.
fn atom(text: &str) -> Option<Atom> {
    if text.starts_with('!') {
        return None;
    }
    let text = text.split('@').next().unwrap_or_default();
    let at = text.find(['<', '>', '=', '~']);
    let (name, condition) = text.split_at(at.unwrap_or(text.len()));
    let version = condition.trim_start_matches(['<', '>', '=', '~']);
    Some(Atom {
        name: name.to_owned(),
        // Even without a condition: of several that provide a name one can't know the one meant.
        version: Some((Operator::Unknown, version.to_owned())),
        architecture: String::new(),
    })
}

fn provision(atom: Atom) -> Provision {
    Provision {
        name: atom.name,
        version: atom.version.map(|(_, version)| version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_becomes_packages() {
        let text = "C:Q1abc=\nP:zlib-dev\nV:1.3-r0\nD:pc:zlib=1.3 zlib=1.3-r0 !old\np:pc:x=1\n\
            F:usr/include\nR:zlib.h\nZ:Q1x=\nF:\nR:top\n\nP:.build-deps\nV:1\nD:gcc\n\n";
        let world = world_names(".build-deps\nbusybox>1.2 x@edge\n");
        let packages = parse(text.as_bytes(), &world);
        assert_eq!(packages[0].files, ["usr/include/zlib.h", "top"]);
        let names = packages[0].package.requires.iter().flatten();
        let names: Vec<&str> = names.map(|atom| atom.name.as_str()).collect();
        assert_eq!(names, ["pc:zlib", "zlib"]);
        assert!(
            packages[0].package.automatic && packages[0].package.purpose == Purpose::Development
        );
        assert!(
            !packages[1].package.automatic && packages[1].package.purpose == Purpose::Development
        );
        assert!(world.contains("busybox") && world.contains("x"));
    }
}
