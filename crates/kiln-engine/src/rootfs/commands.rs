//! Commands that are run in an image before it becomes a disk.

use std::os::fd::AsFd;

use kiln_base::events::StepNumber;
use kiln_base::{CancelToken, Cancelled};
use kiln_exec::{
    Confinement, Control, DEFAULT_HOSTNAME, DEFAULT_PATH, ExecError, Stdio, StepSpec, supports,
};
use kiln_image::Image;

use super::{RootfsError, RootfsRequest};
use crate::Engine;
use crate::chain::Chain;
use crate::error::StepError;
use crate::reporter::Reporter;
use crate::run_step::{name_resolution, network, user};

impl Engine {
    /// Runs the commands of a request, each on what the one before it left, and returns the chain
    /// with a layer for each.
    pub(super) fn run_rootfs_commands(
        &self,
        request: &RootfsRequest,
        (image, chain): (&Image, Chain),
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Chain, RootfsError> {
        let mut chain = chain;
        for command in &request.commands {
            let name = format!("run {command}");
            let ran = reporter.step(&name, cancel, |number| {
                let program = (command.as_str(), request);
                self.run_rootfs_command(program, (image, &chain), (reporter, number), cancel)
            });
            chain = ran.map_err(|source| match source {
                StepError::Cancelled(cancelled) => cancelled.into(),
                source => RootfsError::Command {
                    command: command.clone(),
                    source: Box::new(source),
                },
            })?;
        }
        Ok(chain)
    }

    fn run_rootfs_command(
        &self,
        (command, request): (&str, &RootfsRequest),
        (image, below): (&Image, &Chain),
        (reporter, number): (&Reporter<'_>, StepNumber),
        cancel: &CancelToken,
    ) -> Result<Chain, StepError> {
        let config = image.config();
        let root = self.writable_step_root(below)?;
        let dir = root.dir(self)?;
        let network = network(request.network, request.network);
        let user = user(&dir, "0")?;
        drop(dir);
        let confinement = Confinement {
            emulation: supports(
                &config.platform.architecture,
                config.platform.variant.as_deref().unwrap_or_default(),
            )?,
            ..Confinement::default()
        };
        let spec = StepSpec {
            root: root.mount.as_fd(),
            grade: self.machine.grade,
            argv: shell(image, command),
            env: environment(image),
            cwd: match config.runtime.working_dir.as_str() {
                "" => "/".to_owned(),
                dir => dir.to_owned(),
            },
            user,
            hostname: DEFAULT_HOSTNAME.to_owned(),
            network,
            mounts: name_resolution(self, network, DEFAULT_HOSTNAME, &[]),
            stdio: Stdio::Captured,
        };
        let mut output = |stream, bytes: &[u8]| reporter.output(number, stream, bytes);
        let tracer = reporter.tracer(number);
        let result = self.executor.run_traced(
            (&spec, &confinement),
            &mut output,
            (cancel, &tracer),
            &Control::new(),
        );
        let status = match result {
            Err(ExecError::Cancelled) => return Err(Cancelled.into()),
            result => result?,
        };
        cancel.check()?;
        if !status.is_success() {
            return Err(StepError::Process {
                command: spec.argv,
                status,
            });
        }
        drop(spec);
        Ok(root.commit_step(self, self.now(), &tracer)?)
    }
}

/// The image's shell with a command for it.
fn shell(image: &Image, command: &str) -> Vec<String> {
    let shell = image.config().runtime.shell.clone();
    let mut argv = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
    argv.push(command.to_owned());
    argv
}

fn environment(image: &Image) -> Vec<(String, String)> {
    let mut env = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())];
    for entry in &image.config().runtime.env {
        let Some((name, value)) = entry.split_once('=') else {
            continue;
        };
        match env.iter_mut().find(|(known, _)| known == name) {
            Some(known) => value.clone_into(&mut known.1),
            None => env.push((name.to_owned(), value.to_owned())),
        }
    }
    env
}
