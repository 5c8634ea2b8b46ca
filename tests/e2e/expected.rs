//! What Debian's BuildKit is too old for: Dockerfiles, and the tree and configuration that they have
//! to come to. Cases are in `tests/expected/cases.txt`; ports, in the table that BuildKit's packages
//! answered, are here since a configuration shows them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use testkit::{Absent, FlatImage, Kiln, Program, Scratch, Who, make_tree};

use crate::base;

const BASE: &str = "\
FROM scratch AS base
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]
";

const CONTEXT: &str = r"
    a.txt             0644 alpha
    b.txt             0600 beta
    script.sh         0755 #!/bin/sh
    dir/x.txt         0644 x
    dir/y.md          0644 y
    dir/sub/z.txt     0644 z
    dir/sub/deep/w.md 0644 w
";

/// What kiln makes of ports that BuildKit reads otherwise.
const DIFFERENT_PORTS: &[(&str, &str)] = &[
    // A port has no sign; BuildKit's number parser takes one.
    ("+80", "!"),
];

/// One case of the file.
struct Case<'t> {
    name: &'t str,
    body: &'t str,
}

impl<'t> Case<'t> {
    fn lines(&self, mark: char) -> impl Iterator<Item = &'t str> {
        let lines = self.body.lines();
        lines.filter_map(move |line| Some(line.strip_prefix(mark)?.trim_start_matches(' ')))
    }

    fn dockerfile(&self) -> String {
        let lines = self.body.lines().filter_map(|line| line.strip_prefix("| "));
        let lines: Vec<String> = lines.map(|line| line.replace('␉', "\t")).collect();
        format!("{BASE}{}\n", lines.join("\n"))
    }
}

#[test]
fn files_come_to_what_is_expected() {
    base::run("expected::files_come_to_what_is_expected", || {
        let (kiln, context) = set_up()?;
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected/cases.txt");
        let text = fs::read_to_string(file).unwrap();
        let cases = text.split("\n=== ").skip(1).map(|case| {
            let (name, body) = case.split_once('\n').unwrap();
            Case { name, body }
        });
        let wrong: Vec<(usize, String)> = cases
            .enumerate()
            .map(|(number, case)| (number, check(kiln, context, number, &case)))
            .collect();
        assert!(wrong.len() >= 40, "only {} cases", wrong.len());
        let wrong: String = wrong.into_iter().map(|(_, text)| text).collect();
        assert!(wrong.is_empty(), "{wrong}");
        Ok(())
    });
}

/// Builds one case; what differs, one line each.
fn check(kiln: &Kiln, context: &Path, number: usize, case: &Case<'_>) -> String {
    let file = context.with_file_name(format!("expected-{number}.Dockerfile"));
    fs::write(&file, case.dockerfile()).unwrap();
    let archive = context.with_file_name(format!("expected-{number}.tar"));
    let image = format!("expected-{number}");
    let further = case.lines('$').collect::<Vec<_>>().join(" ");
    let further = further.replace("{context}", &context.display().to_string());
    let output = format!("type=tar,dest={}", archive.display());
    let build = kiln.command().args(["build", "--output", &output]);
    let build = build.args(["--tag", &image, "--output", "type=image", "--file"]);
    let build = build.arg(&file).args(further.split_whitespace());
    let finished = build.arg(context).run();
    if !finished.success() {
        return format!("{}: {}\n", case.name, finished.stderr);
    }
    let expected: BTreeSet<String> = case.lines('>').map(str::to_owned).collect();
    let got = unpack(&archive);
    let mut differences = String::new();
    for line in got.symmetric_difference(&expected) {
        let who = if got.contains(line) {
            "kiln"
        } else {
            "expected"
        };
        let _ = writeln!(differences, "{}: {who} {line}", case.name);
    }
    let saved = kiln.run(&["save", "--format", "docker", &image]).ok();
    let config = FlatImage::from_docker_archive(&saved.stdout).config;
    for line in case.lines('@') {
        let (place, value) = line.split_once(' ').unwrap();
        let value: Value = serde_json::from_str(value).unwrap();
        let found = config.pointer(place).unwrap_or(&Value::Null);
        if *found != value {
            let _ = writeln!(differences, "{}: {place} is {found}", case.name);
        }
    }
    differences
}

/// The tree in an archive, one line for each name.
fn unpack(archive: &Path) -> BTreeSet<String> {
    let root = archive.with_extension("tree");
    fs::create_dir(&root).unwrap();
    let tar = Program::new("tar").args(["--extract", "--same-owner", "--same-permissions"]);
    let tar = tar.arg("--file").arg(archive).arg("--directory").arg(&root);
    let _ = tar.run().ok();
    let mut lines = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            lines.insert(describe(&root, &path));
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path);
            }
        }
    }
    lines
}

fn describe(root: &Path, path: &Path) -> String {
    let found = path.symlink_metadata().unwrap();
    let name = path.strip_prefix(root).unwrap().display();
    let (mode, uid, gid) = (found.mode() & 0o7777, found.uid(), found.gid());
    let content = if found.is_file() {
        format!(" {:?}", fs::read_to_string(path).unwrap())
    } else if found.is_symlink() {
        format!(" -> {}", fs::read_link(path).unwrap().display())
    } else {
        String::new()
    };
    format!("/{name} {mode:04o} {uid}:{gid}{content}")
}

#[test]
fn ports() {
    base::run("expected::ports", || {
        let (kiln, context) = set_up()?;
        let table = "../crates/kiln-dockerfile/tests/tables/ports.txt";
        let table = Path::new(env!("CARGO_MANIFEST_DIR")).join(table);
        let text = fs::read_to_string(table).unwrap();
        let rows = text
            .lines()
            .filter(|line| !line.starts_with("# ") && *line != "#");
        // A specification with a blank in it is two words.
        let rows = rows.filter_map(|line| line.split_once('\t'));
        let rows = rows.filter(|(port, _)| !port.contains([' ', '∅']));
        let mut count = 0;
        let wrong: Vec<String> = rows
            .inspect(|_| count += 1)
            .filter_map(|(port, expected)| {
                let got = exposed(kiln, context, port);
                let ours = DIFFERENT_PORTS.iter().find(|(known, _)| *known == port);
                let expected = ours.map_or(expected, |(_, ours)| ours);
                let mut expected: Vec<&str> = expected.split(' ').collect();
                expected.sort_unstable();
                (got != expected).then(|| format!("{port}: {got:?}, not {expected:?}"))
            })
            .collect();
        assert!(count >= 59, "only {count} rows");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    });
}

/// The ports that an image with this `EXPOSE` has, or `!`.
fn exposed(kiln: &Kiln, context: &Path, port: &str) -> Vec<String> {
    let dockerfile = format!("FROM scratch\nEXPOSE {port}\n");
    let build = kiln
        .command()
        .args(["build", "--tag", "expected-ports", "--file", "-"]);
    if !build.arg(context).input(dockerfile).run().success() {
        return vec!["!".to_owned()];
    }
    let config = kiln.run(&["inspect", "--config", "expected-ports"]).ok();
    let config = config.json();
    let ports = config["config"]["ExposedPorts"].as_object();
    let mut ports: Vec<String> = ports
        .into_iter()
        .flatten()
        .map(|(port, _)| port.clone())
        .collect();
    ports.sort_unstable();
    ports
}

/// A store and the context of all cases.
fn set_up() -> Result<&'static (Kiln, PathBuf), Absent> {
    static READY: OnceLock<Result<(Kiln, PathBuf), Absent>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        let kiln = Kiln::new(Who::Root, "expected")?;
        let busybox = testkit::find_program("busybox")?;
        let context = Scratch::folder("expected").join("context");
        fs::create_dir(&context).unwrap();
        make_tree(&context, CONTEXT);
        for name in [
            "a.txt",
            "b.txt",
            "dir/x.txt",
            "dir/y.md",
            "dir/sub/z.txt",
            "dir/sub/deep/w.md",
        ] {
            without_line_feed(&context.join(name));
        }
        fs::copy(busybox, context.join("busybox")).unwrap();
        let tree = Scratch::folder("expected-archive");
        make_tree(&tree, "tree/ 0750\ntree/one 0640 one");
        without_line_feed(&tree.join("tree/one"));
        let tar = Program::new("tar").args(["--create", "--owner=3:3", "--group=4:4", "--file"]);
        let tar = tar.arg(context.join("tree.tar")).arg("--directory");
        let _ = tar.arg(&tree).arg("tree").run().ok();
        Ok((kiln, context))
    });
    ready.as_ref().map_err(Clone::clone)
}

fn without_line_feed(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.trim_end()).unwrap();
}
