//! The image's systemd as the first process, with a unit for the image's program.
//!
//! The unit has systemd start `kiln-init` when the program runs and when it has ended, to say so on
//! the console.

use std::fmt::Write as _;

use super::place::Disk;
use super::{INIT_PATH, InitError, RunConfig, check, direct, signal};
use crate::paths;

const PROGRAMS: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
const UNIT: &str = "/etc/systemd/system/kiln-program.service";
const WANTED: &str = "/etc/systemd/system/multi-user.target.wants/kiln-program.service";
const ENVIRONMENT: &str = "/etc/kiln/program.env";
const MACHINE_ID: &str = "/etc/machine-id";

/// Returns the path of the first process.
pub(super) fn install(disk: &mut Disk<'_>, run: &RunConfig) -> Result<String, InitError> {
    let systemd = PROGRAMS
        .into_iter()
        .find(|path| check::executable(disk, path).is_ok())
        .ok_or(InitError::NoSystemd)?;
    let program = check::program(disk, run)?;
    let identity = check::identity(disk, run)?;
    direct::install_program(disk, run)?;
    disk.put_file(UNIT, 0o644, unit(run, &program)?.as_bytes())?;
    disk.put_link(WANTED, UNIT)?;
    let environment = environment(disk, run, &identity.home)?;
    disk.put_file(ENVIRONMENT, 0o600, environment.as_bytes())?;
    if let Some(name) = &run.hostname {
        disk.put_file("/etc/hostname", 0o644, format!("{name}\n").as_bytes())?;
    }
    // Without this file systemd asks for a language and a password at its first start; when it is
    // empty it makes itself an id.
    if paths::name(disk.tree, MACHINE_ID.as_bytes()).is_none() {
        disk.put_file(MACHINE_ID, 0o444, b"")?;
    }
    Ok(systemd.to_owned())
}

fn unit(run: &RunConfig, program: &str) -> Result<String, InitError> {
    let mut command = word(program)?;
    for argument in run.args.iter().skip(1) {
        command.push(' ');
        command.push_str(&word(argument)?);
    }
    let mut unit = format!(
        "# Written by kiln.\n\
         [Unit]\n\
         Description=The image's program\n\
         After=network.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={command}\n\
         ExecStartPost=-+{INIT_PATH} ready\n\
         ExecStopPost=-+{INIT_PATH} exit\n\
         EnvironmentFile={ENVIRONMENT}\n"
    );
    let (user, group) = run.user.split_once(':').unwrap_or((&run.user, ""));
    let groups = run.groups.join(" ");
    let directory = match run.working_dir.as_str() {
        "" => "/",
        path => path,
    };
    for (key, value) in [
        ("User", user),
        ("Group", group),
        ("SupplementaryGroups", &groups),
        ("WorkingDirectory", directory),
    ] {
        if !value.is_empty() {
            setting(&mut unit, key, value)?;
        }
    }
    let stop = run.stop_signal.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = stop {
        let _ = writeln!(unit, "KillSignal={}", signal::number(name)?);
    }
    let _ = write!(
        unit,
        "UMask={:04o}\n\
         TimeoutStopSec={}\n\
         StandardOutput=journal+console\n\
         StandardError=journal+console\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        run.umask,
        kiln_init::config::STOP_SECONDS,
    );
    Ok(unit)
}

/// A value that goes to the end of its line. `%` begins a specifier in all of them.
fn setting(unit: &mut String, key: &str, value: &str) -> Result<(), InitError> {
    let is_plain = !value.contains(|character: char| character.is_control() || character == '\\');
    if !is_plain || value.trim() != value {
        return Err(InitError::Unit(format!("{key} `{}`", value.escape_debug())));
    }
    let _ = writeln!(unit, "{key}={}", value.replace('%', "%%"));
    Ok(())
}

/// A word of a command line: quoted, with what begins a specifier or a variable doubled.
fn word(text: &str) -> Result<String, InitError> {
    let mut word = "\"".to_owned();
    for character in text.chars() {
        match character {
            '\0' => return Err(InitError::Unit("an argument with a zero byte".to_owned())),
            '"' | '\\' => word.extend(['\\', character]),
            '%' | '$' => word.extend([character, character]),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            control if control.is_ascii_control() => {
                let _ = write!(word, "\\x{:02x}", u32::from(control));
            }
            other => word.push(other),
        }
    }
    word.push('"');
    Ok(word)
}

/// The environment file, with what systemd does not set for services of root.
fn environment(disk: &mut Disk<'_>, run: &RunConfig, home: &str) -> Result<String, InitError> {
    let defaults = [
        format!("PATH={}", check::DEFAULT_PATH),
        format!("HOME={home}"),
    ];
    let mut text = String::new();
    for variable in defaults.iter().chain(&run.env) {
        let Some((name, value)) = variable.split_once('=') else {
            continue;
        };
        if !is_name(name) {
            disk.warn(format!(
                "systemd does not set `{name}`: it takes letters, digits and `_` only"
            ));
            continue;
        }
        if value.contains('\0') {
            return Err(InitError::Unit(format!("the variable `{name}`")));
        }
        let mut quoted = String::new();
        for character in value.chars() {
            if matches!(character, '"' | '\\' | '$' | '`') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        let _ = writeln!(text, "{name}=\"{quoted}\"");
    }
    Ok(text)
}

fn is_name(name: &str) -> bool {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(is_right)
}
