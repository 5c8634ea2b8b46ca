//! `kiln-init` as the first process.

use kiln_init::config::{self, Config, Program};

use super::place::Disk;
use super::{ARCHITECTURE, INIT, INIT_PATH, InitError, RunConfig, check, signal};

/// Returns the path of the first process.
pub(super) fn install(disk: &mut Disk<'_>, run: &RunConfig) -> Result<String, InitError> {
    check::program(disk, run)?;
    check::identity(disk, run)?;
    let config = config(run)?;
    install_program(disk, run)?;
    disk.put_file(config::PATH, 0o600, &config.to_json())?;
    Ok(INIT_PATH.to_owned())
}

/// Puts `kiln-init` on the disk.
pub(super) fn install_program(disk: &mut Disk<'_>, run: &RunConfig) -> Result<(), InitError> {
    if run.architecture != ARCHITECTURE {
        return Err(InitError::Architecture(run.architecture.clone()));
    }
    disk.put_file(INIT_PATH, 0o755, INIT)?;
    disk.put_link("/usr/bin/metald-init", INIT_PATH)
}

fn config(run: &RunConfig) -> Result<Config, InitError> {
    let stop_signal = run.stop_signal.as_deref().filter(|name| !name.is_empty());
    let program = Program {
        env: run.env.clone(),
        user: run.user.clone(),
        groups: run.groups.clone(),
        working_dir: run.working_dir.clone(),
        umask: run.umask,
        stop_signal: stop_signal.map_or(Ok(config::STOP_SIGNAL), signal::number)?,
        ..Program::new(run.args.clone())
    };
    Ok(Config {
        root: run.root,
        tmp: run.tmp,
        hostname: run.hostname.clone(),
        network: run.network.clone(),
        volumes: run.volumes.iter().cloned().collect(),
        // `/etc/hosts` and `/etc/resolv.conf` are on the disk.
        ..Config::new(program)
    })
}
