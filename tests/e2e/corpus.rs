//! Dockerfiles as people write them: each is built, started, and its behaviour checked.
//!
//! A case is a folder under `tests/corpus`: the build context, and `case.json`:
//!
//! | field | meaning |
//! |---|---|
//! | `about` | what the case is there for |
//! | `needs` | `pip`, `npm`: package registries that the build has to reach |
//! | `before` | images to build first: `file` and `tag` |
//! | `build` | further arguments of `kiln build` |
//! | `runs` | containers to start: `args`, `command`, `stdin`; then `stdout` (texts that it contains), `stdout_is`, or `serves` (`port`, `path`, `contains`) |
//! | `config` | fields of the image configuration that have these values; `null` is absent |

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use testkit::{Absent, Kiln, Program, Scratch, Who};

use crate::base;

macro_rules! corpus {
    (root: $($root:ident)*; both: $($both:ident)*;) => {
        const CASES: &[&str] = &[$(stringify!($root),)* $(stringify!($both)),*];

        mod as_root {
            $(#[test] fn $root() { super::check(stringify!($root), testkit::Who::Root); })*
            $(#[test] fn $both() { super::check(stringify!($both), testkit::Who::Root); })*
        }

        mod as_user {
            $(#[test] fn $both() { super::check(stringify!($both), testkit::Who::User); })*
        }
    };
}

corpus! {
    // These take long, and say nothing new when an ordinary user builds them.
    root: cmake_targets node_npm php_builtin;
    both: archives args busybox_scratch c_apt entrypoint go_scratch heredocs ignore link_chmod
        nginx_static nonroot onbuild perl_lines python_pip;
}

/// Servers listen on fixed ports of the host's network.
static PORTS: Mutex<()> = Mutex::new(());

#[test]
fn every_folder_is_a_case() {
    let mut folders: Vec<String> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .replace('-', "_")
        })
        .collect();
    folders.sort();
    let mut cases = CASES.to_vec();
    cases.sort_unstable();
    assert_eq!(folders, cases);
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[track_caller]
fn check(case: &str, who: Who) {
    let test = format!("corpus::as_{}::{case}", who.name());
    base::run(&test, || {
        let folder = corpus().join(case.replace('_', "-"));
        let description = fs::read(folder.join("case.json")).unwrap();
        let description: Value = serde_json::from_slice(&description).unwrap();
        for need in strings(&description["needs"]) {
            need_registry(&need)?;
        }
        let kiln = base::with_base(who)?;
        let image = format!("corpus-{}", case.replace('_', "-"));
        let context = context(&folder, who);
        build(&kiln, &description, &context, &image);
        let config = kiln.run(&["inspect", "--config", &image]).ok().json();
        check_config(&description["config"], &config);
        for run in description["runs"].as_array().unwrap() {
            check_run(&kiln, &image, run);
        }
        Ok(())
    });
}

/// A copy of the case with the modes that a fresh checkout gives, whatever this one's mask was.
fn context(folder: &Path, who: Who) -> PathBuf {
    let name = folder.file_name().unwrap().to_string_lossy();
    let parent = Scratch::folder(&format!("contexts-{}", who.name()));
    let copy = parent.join(&*name);
    let _ = Program::new("cp")
        .arg("-a")
        .args([folder, &copy])
        .run()
        .ok();
    let _ = Program::new("chmod")
        .args(["-R", "u=rwX,go=rX"])
        .arg(&copy)
        .run()
        .ok();
    copy
}

fn build(kiln: &Kiln, description: &Value, context: &Path, image: &str) {
    for before in description["before"].as_array().into_iter().flatten() {
        let file = context.join(before["file"].as_str().unwrap());
        let command = kiln.command().args(["build", "--trust-host-cas", "--tag"]);
        let command = command
            .arg(before["tag"].as_str().unwrap())
            .arg("--file")
            .arg(file);
        let _ = command.arg(context).run().ok();
    }
    let command = kiln
        .command()
        .args(["build", "--trust-host-cas", "--tag", image]);
    let command = command
        .args(strings(&description["build"]))
        .args(registry_settings());
    let _ = command.arg(context).run().ok();
}

/// Which registries pip and npm ask on this host, where that is not their own default.
fn registry_settings() -> Vec<String> {
    let ask = |program: &str, arguments: &[&str]| {
        testkit::find_program(program).ok()?;
        let answer = Program::new(program).args(arguments).run();
        let value = answer.text().trim().to_owned();
        (answer.success() && value.starts_with("http")).then_some(value)
    };
    let settings = [
        (
            "PIP_INDEX_URL",
            ask("pip", &["config", "get", "global.index-url"]),
        ),
        (
            "NPM_CONFIG_REGISTRY",
            ask("npm", &["config", "get", "registry"]),
        ),
    ];
    let mut arguments = Vec::new();
    for (name, value) in settings {
        if let Some(value) = std::env::var(name).ok().or(value) {
            arguments.push(format!("--build-arg={name}={value}"));
        }
    }
    arguments
}

/// Whether the language's package registry answers; asked with the host's own tools.
fn need_registry(need: &str) -> Result<(), Absent> {
    let settings = registry_settings();
    let configured = |name: &str, default: &str| {
        let prefix = format!("--build-arg={name}=");
        let found = settings
            .iter()
            .find_map(|setting| setting.strip_prefix(&prefix));
        found.unwrap_or(default).trim_end_matches('/').to_owned()
    };
    let url = match need {
        "pip" => configured("PIP_INDEX_URL", "https://pypi.org/simple") + "/bottle/",
        "npm" => configured("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org") + "/ms",
        other => panic!("`{other}` is not a registry that tests know"),
    };
    testkit::find_program("curl")?;
    let quiet = [
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "20",
        "--output",
        "/dev/null",
    ];
    let answer = Program::new("curl").args(quiet).arg(&url).run();
    if answer.success() {
        return Ok(());
    }
    Err(Absent(format!(
        "the registry of {need} does not answer: {}",
        answer.stderr.trim()
    )))
}

#[track_caller]
fn check_config(expected: &Value, config: &Value) {
    for (name, value) in expected.as_object().into_iter().flatten() {
        assert_eq!(
            &config["config"][name], value,
            "`{name}` of the configuration"
        );
    }
}

#[track_caller]
fn check_run(kiln: &Kiln, image: &str, run: &Value) {
    let command = kiln.command().args(["run", "--rm", "--interactive"]);
    let command = command.args(strings(&run["args"])).arg(image);
    let command = command.args(strings(&run["command"]));
    if let Some(serves) = run["serves"].as_object() {
        let port = u16::try_from(serves["port"].as_u64().unwrap()).unwrap();
        let path = serves["path"].as_str().unwrap();
        let contains = serves["contains"].as_str().unwrap();
        let _turn = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
        let log = Scratch::folder("servers").join(format!("{image}-{}", kiln.who().name()));
        let mut server = command.start(&log);
        let answer = testkit::wait_for(port, path, |answer| answer.contains(contains));
        server.kill().unwrap();
        server.wait().unwrap();
        let log = fs::read_to_string(log).unwrap();
        assert!(
            answer
                .as_ref()
                .is_ok_and(|answer| answer.contains(contains)),
            "{answer:?} does not contain {contains:?}; the server wrote:\n{log}"
        );
        return;
    }
    let finished = command
        .input(run["stdin"].as_str().unwrap_or_default())
        .run()
        .ok();
    let stdout = finished.text();
    for part in strings(&run["stdout"]) {
        assert!(stdout.contains(&part), "no {part:?} in: {finished}");
    }
    if let Some(whole) = run["stdout_is"].as_str() {
        assert_eq!(stdout, whole, "{finished}");
    }
}

fn strings(value: &Value) -> Vec<String> {
    let words = value.as_array().into_iter().flatten();
    words
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}
