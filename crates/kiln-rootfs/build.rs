//! Compiles `kiln-init` for the machine that kiln is compiled for, to be carried inside kiln.
//!
//! A cargo of its own does it, with the profile `init`, in a folder of its own: so there is no lock
//! that two would wait for, and nothing of how kiln itself is compiled (features, flags, clippy's
//! wrapper) reaches it. Everything it needs, kiln needs too, so it is downloaded already.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What `kiln-init` is made of, from the top of the repository.
const SOURCES: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "crates/kiln-init/Cargo.toml",
    "crates/kiln-init/src",
    "crates/kiln-sys/Cargo.toml",
    "crates/kiln-sys/src",
];

/// The outer cargo's variables that would change what the inner one does.
const FOREIGN: &[&str] = &[
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_MAKEFLAGS",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "MAKEFLAGS",
    "MFLAGS",
    "RUSTC",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "__CARGO_DEFAULT_LIB_METADATA",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let top = variable("CARGO_MANIFEST_DIR")?;
    let top = Path::new(&top)
        .ancestors()
        .nth(2)
        .ok_or("this crate is not in the repository's `crates`")?
        .to_owned();
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", top.join(source).display());
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    let target = variable("TARGET")?;
    let folder = out.join("init");
    compile(&top, &folder, &target)?;
    let made = folder.join(&target).join("init/kiln-init");
    fs::copy(&made, out.join("kiln-init"))
        .map_err(|error| format!("could not copy `{}`: {error}", made.display()))?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is no part of kiln, and nothing of kiln may be needed to compile it"
)]
fn compile(top: &Path, folder: &Path, target: &str) -> Result<(), String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(top)
        .args(["build", "--offline", "--locked", "--profile=init"])
        .args(["--package=kiln-init", "--bin=kiln-init"])
        .arg(format!("--target={target}"))
        .arg("--target-dir")
        .arg(folder);
    for name in FOREIGN {
        cargo.env_remove(name);
    }
    // Without a path of this machine in it, it is the same wherever it is compiled.
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Clink-arg=-Wl,--build-id=none".to_owned(),
        format!("--remap-path-prefix={}=kiln", top.display()),
    ];
    if let Some(home) = env::var_os("CARGO_HOME") {
        let home = Path::new(&home).display().to_string();
        flags.push(format!("--remap-path-prefix={home}=cargo"));
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let output = cargo
        .output()
        .map_err(|error| format!("could not start cargo: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "could not compile kiln-init ({}); it is linked statically, which needs the C library's \
         `libc.a` (Debian: libc6-dev)\n{said}",
        output.status
    ))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("cargo did not set `{name}`"))
}
