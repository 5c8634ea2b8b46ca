//! `kiln run`: a container from an image of the store. Its changes are thrown away.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use kiln_base::CancelToken;
use kiln_base::events::{Events, Stream};
use kiln_exec::{
    Access, Control, DEFAULT_HOSTNAME, DEFAULT_PATH, ExitStatus, MountKind, StepMount, StepSpec,
    run_controlled,
};
use kiln_oci::RuntimeConfig;
use kiln_sys::mount::{Recursion, bind};

use crate::Engine;
use crate::base::Layers;
use crate::error::ContainerError;
use crate::reporter::Reporter;
use crate::request::{RunRequest, Stdio};
use crate::run_step::{name_resolution, network, trusted, user};

impl Engine {
    /// Runs a container to its end. The image is pulled where the store does not have it.
    ///
    /// Signals are passed on by `control`; `cancel` kills the container. `output` gets what the process writes where [`RunRequest::stdio`] is [`Stdio::Outputs`].
    pub fn run(
        &self,
        request: &RunRequest,
        events: &dyn Events,
        output: &mut dyn FnMut(Stream, &[u8]),
        (control, cancel): (&Control, &CancelToken),
    ) -> Result<ExitStatus, ContainerError> {
        let reporter = Reporter::new(events);
        let image = match self.open_image_for(&request.image, &request.platform) {
            Ok(image) => image,
            Err(crate::OutputError::NoSuchImage(_) | crate::OutputError::Image(_)) => {
                let name = request
                    .image
                    .parse()
                    .map_err(|source| ContainerError::Name {
                        name: request.image.clone(),
                        source,
                    })?;
                let pull = (crate::Pull::Missing, Layers::Unpacked);
                self.base(&name, &request.platform, pull, &reporter, cancel)?
                    .image
            }
            Err(error) => return Err(error.into()),
        };
        let chain = self.image_chain(&image)?;
        if !self.is_unpacked(&chain)? {
            reporter.step(&format!("unpack {}", request.image), cancel, |number| {
                self.unpack_chain(&chain, (&reporter, number), cancel)
            })?;
        }
        let root = self.writable_root(&chain)?;
        let dir = root.dir(self)?;
        let config = &image.config().runtime;
        let mut env = environment(config, request);
        let network = network(request.network, request.network);
        let mut mounts = name_resolution(self, network, DEFAULT_HOSTNAME, &request.extra_hosts);
        mounts.extend(trusted(&dir, &request.trust, &mut env)?);
        let volumes = open_volumes(request)?;
        mounts.extend(volumes.iter().map(|(source, volume)| StepMount {
            target: volume.target.clone(),
            kind: MountKind::Bind {
                source: source.as_fd(),
                access: if volume.read_only {
                    Access::ReadOnly
                } else {
                    Access::ReadWrite
                },
            },
        }));
        let user = user(&dir, request.user.as_deref().unwrap_or(&config.user))?;
        drop(dir);
        let spec = StepSpec {
            root: root.mount.as_fd(),
            grade: self.machine.grade,
            argv: command(config, request),
            env,
            cwd: working_dir(config, request),
            user,
            hostname: request.hostname.clone().unwrap_or_else(|| short_id(&image)),
            network,
            mounts,
            stdio: match request.stdio {
                Stdio::Outputs => kiln_exec::Stdio::Captured,
                Stdio::Inherit => kiln_exec::Stdio::Inherited,
                Stdio::Terminal => kiln_exec::Stdio::Terminal,
            },
        };
        Ok(run_controlled(&spec, output, cancel, control)?)
    }
}

type OpenVolume<'a> = (OwnedFd, &'a crate::Volume);

fn open_volumes(request: &RunRequest) -> Result<Vec<OpenVolume<'_>>, ContainerError> {
    request
        .volumes
        .iter()
        .map(|volume| {
            let open = |cause| ContainerError::Volume {
                path: volume.source.clone(),
                cause,
            };
            // Opened first so that a missing path is told as such and not as a failed mount.
            File::open(&volume.source).map_err(open)?;
            Ok((
                bind(&volume.source, Recursion::Below).map_err(open)?,
                volume,
            ))
        })
        .collect()
}

/// What is run: as with Docker, `--entrypoint` also drops the image's `CMD`.
fn command(config: &RuntimeConfig, request: &RunRequest) -> Vec<String> {
    let mut argv = match &request.entrypoint {
        Some(entrypoint) => entrypoint.clone(),
        None => config.entrypoint.clone().unwrap_or_default(),
    };
    if !request.command.is_empty() {
        argv.extend_from_slice(&request.command);
    } else if request.entrypoint.is_none() {
        argv.extend(config.cmd.iter().flatten().cloned());
    }
    argv
}

fn environment(config: &RuntimeConfig, request: &RunRequest) -> Vec<(String, String)> {
    let mut env = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())];
    let image = config.env.iter().filter_map(|entry| entry.split_once('='));
    let image = image.map(|(name, value)| (name.to_owned(), value.to_owned()));
    if request.stdio == Stdio::Terminal {
        env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    for (name, value) in image.chain(request.env.iter().cloned()) {
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => env.push((name, value)),
        }
    }
    env
}

fn working_dir(config: &RuntimeConfig, request: &RunRequest) -> String {
    let wanted = request.workdir.as_deref().unwrap_or(&config.working_dir);
    if wanted.is_empty() {
        "/".to_owned()
    } else {
        wanted.to_owned()
    }
}

/// What the container is called inside: as with Docker, twelve hexadecimal digits.
fn short_id(image: &kiln_image::Image) -> String {
    let hex = image.id().hex();
    hex.get(..12).unwrap_or(hex).to_owned()
}

#[cfg(test)]
mod tests {
    use kiln_oci::Platform;

    use super::*;
    use crate::Trust;

    fn request() -> RunRequest {
        RunRequest {
            image: "x".into(),
            platform: Platform::new("linux", "amd64"),
            command: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            workdir: None,
            user: None,
            volumes: Vec::new(),
            hostname: None,
            network: kiln_graph::Network::Host,
            extra_hosts: Vec::new(),
            stdio: Stdio::Outputs,
            trust: Trust::ImageOnly,
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(entrypoint: Option<&str>, arguments: &str, expected: &str) {
        let config = RuntimeConfig {
            entrypoint: Some(words("/entry")),
            cmd: Some(words("serve")),
            ..RuntimeConfig::default()
        };
        let request = RunRequest {
            entrypoint: entrypoint.map(words),
            command: words(arguments),
            ..request()
        };
        assert_eq!(command(&config, &request).join(" "), expected);
    }

    #[test]
    fn the_command_is_docker_s() {
        check(None, "", "/entry serve");
        check(None, "a b", "/entry a b");
        check(Some("/sh"), "", "/sh");
        check(Some("/sh"), "-c x", "/sh -c x");
        check(Some(""), "x", "x");
    }

    #[test]
    fn later_variables_win() {
        let config = RuntimeConfig {
            env: vec!["A=1".into(), "PATH=/bin".into()],
            ..Default::default()
        };
        let request = RunRequest {
            env: vec![("A".into(), "2".into())],
            ..request()
        };
        let env = environment(&config, &request);
        assert_eq!(
            env,
            [("PATH".into(), "/bin".into()), ("A".into(), "2".into())]
        );
    }
}
