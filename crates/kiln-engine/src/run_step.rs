//! `RUN`: a process in a root.

use std::collections::HashMap;

use kiln_base::events::StepNumber;
use kiln_base::{CancelToken, Cancelled};
use kiln_exec::{
    Confinement, Control, ExecError, MountKind, Network, Resources, Security, Stdio, StepMount,
    StepSpec, hosts_file, resolv_conf, supports,
};
use kiln_graph::{Part, RunOp};
use kiln_sys::fs::Dir;

use crate::Engine;
use crate::chain::Chain;
use crate::error::StepError;
use crate::mounts::OpenMounts;
use crate::reporter::Reporter;
use crate::request::{BuildRequest, StepSettings, Trust};
use crate::trust;

/// The largest certificate bundle of an image that is read, in bytes; Debian's has 220 kB.
const MAX_BUNDLE: u64 = 16 << 20;

/// Runs the process on top of `below`, and returns the chain with its changes on top.
pub(crate) fn run(
    engine: &Engine,
    request: &BuildRequest,
    op: &RunOp,
    inputs: &[&Chain],
    (reporter, number): (&Reporter<'_>, StepNumber),
    cancel: &CancelToken,
) -> Result<Chain, StepError> {
    let below = inputs.first().copied().ok_or(StepError::NoContext)?;
    let tracer = reporter.tracer(number);
    let opened = tracer.within("open mounts", || {
        OpenMounts::open(engine, request, op, inputs, cancel)
    })?;
    let root = tracer.within("mount", || engine.writable_step_root(below))?;
    let dir = root.dir(engine)?;
    let network = network(op.network, request.steps.network);
    let mut env = op.env.clone();
    env.extend_from_slice(&op.uncached_env);
    let hosts = &request.steps.extra_hosts;
    let mut mounts = name_resolution(engine, network, &op.hostname, hosts);
    mounts.extend(op.files.iter().map(|file| StepMount {
        target: file.path.clone(),
        kind: MountKind::File {
            content: file.content.clone(),
            mode: file.mode,
        },
    }));
    mounts.extend(trusted(&dir, &request.trust, &mut env)?);
    env.extend(opened.variables.iter().cloned());
    let env = last_of_each(env);
    mounts.extend(opened.mounts());
    let user = user(&dir, &op.user)?;
    drop(dir);
    let spec = StepSpec {
        root: std::os::fd::AsFd::as_fd(&root.mount),
        grade: engine.machine.grade,
        argv: op.argv.clone(),
        env,
        cwd: op.cwd.clone(),
        user,
        hostname: op.hostname.clone(),
        network,
        mounts,
        stdio: Stdio::Captured,
    };
    let mut output = |stream, bytes: &[u8]| reporter.output(number, stream, bytes);
    let confinement = confinement(op, &request.steps)?;
    let control = Control::new();
    let sandbox = tracer.span("sandbox");
    let program = (&spec, &confinement);
    let watched = (cancel, &tracer);
    let result = (engine.executor).run_traced(program, &mut output, watched, &control);
    let status = match result {
        Err(ExecError::Cancelled) => return Err(Cancelled.into()),
        result => result?,
    };
    drop(sandbox);
    cancel.check()?;
    if !status.is_success() {
        return Err(StepError::Process {
            command: op.argv.clone(),
            status,
        });
    }
    drop(spec);
    Ok(root.commit_step(engine, engine.now(), &tracer)?)
}

/// Each name once, with the value that it was given last: programs differ in which of two they see.
fn last_of_each(env: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut places = HashMap::new();
    let mut unique: Vec<(String, String)> = Vec::with_capacity(env.len());
    for (name, value) in env {
        match places.get(&name) {
            Some(&place) => {
                let known: &mut (String, String) = &mut unique[place];
                known.1 = value;
            }
            None => {
                places.insert(name.clone(), unique.len());
                unique.push((name, value));
            }
        }
    }
    unique
}

/// How tightly a step is held.
fn confinement(op: &RunOp, settings: &StepSettings) -> Result<Confinement, StepError> {
    Ok(Confinement {
        security: match op.security {
            kiln_graph::Security::Sandbox => Security::Sandbox,
            kiln_graph::Security::Insecure => Security::Insecure,
        },
        emulation: supports(
            &op.platform.architecture,
            op.platform.variant.as_deref().unwrap_or_default(),
        )?,
        shm_bytes: settings.shm_size,
        ulimits: settings
            .ulimits
            .iter()
            .map(|limit| kiln_exec::Ulimit {
                name: limit.name.clone(),
                soft: limit.soft,
                hard: limit.hard,
            })
            .collect(),
        resources: resources(settings)?,
        cgroup_parent: settings.cgroup_parent.clone(),
    })
}

fn resources(settings: &StepSettings) -> Result<Resources, StepError> {
    let mut resources = Resources::default();
    for (name, value) in &settings.resources {
        let wrong = || StepError::Resource {
            name: name.clone(),
            value: value.clone(),
        };
        let size = || value.parse::<u64>().map(Some).map_err(|_| wrong());
        let signed = || value.parse::<i64>().map(Some).map_err(|_| wrong());
        match name.as_str() {
            "memory" => resources.memory = size()?,
            "memory-swap" => resources.memory_swap = signed()?,
            "cpu-shares" => resources.cpu_shares = size()?,
            "cpu-period" => resources.cpu_period = size()?,
            "cpu-quota" => resources.cpu_quota = signed()?,
            "cpuset-cpus" => resources.cpuset_cpus = Some(value.clone()),
            "cpuset-mems" => resources.cpuset_mems = Some(value.clone()),
            _ => return Err(wrong()),
        }
    }
    Ok(resources)
}

/// What a request says for all its steps, as parts of their keys. Not the host's name servers and
/// not extra authorities, which are to make no difference.
pub(crate) fn request_parts(settings: &StepSettings) -> Vec<Part> {
    let network = match network(kiln_graph::Network::Default, settings.network) {
        Network::Host => "host",
        Network::None => "none",
    };
    let mut parts = vec![Part::new("network of the build", network)];
    for (index, (name, address)) in settings.extra_hosts.iter().enumerate() {
        let label = format!("extra host {}", index + 1);
        parts.push(Part::new(label, format!("{name} {address}")));
    }
    if let Some(size) = settings.shm_size {
        parts.push(Part::new("size of /dev/shm", size.to_string()));
    }
    for limit in &settings.ulimits {
        let value = format!("{:?} {:?}", limit.soft, limit.hard);
        parts.push(Part::new(format!("limit `{}`", limit.name), value));
    }
    parts
}

/// The network of one step.
pub(crate) fn network(step: kiln_graph::Network, default: kiln_graph::Network) -> Network {
    match (step, default) {
        (kiln_graph::Network::None, _)
        | (kiln_graph::Network::Default, kiln_graph::Network::None) => Network::None,
        (kiln_graph::Network::Host | kiln_graph::Network::Default, _) => Network::Host,
    }
}

/// `/etc/hosts` and `/etc/resolv.conf`.
pub(crate) fn name_resolution<'a>(
    engine: &Engine,
    network: Network,
    hostname: &str,
    extra_hosts: &[(String, String)],
) -> Vec<StepMount<'a>> {
    let file = |target: &str, content: String| StepMount {
        target: target.to_owned(),
        kind: MountKind::File {
            content: content.into_bytes(),
            mode: 0o644,
        },
    };
    vec![
        file("/etc/hosts", hosts_file(hostname, extra_hosts)),
        file(
            "/etc/resolv.conf",
            resolv_conf(&engine.settings.resolv_conf, network),
        ),
    ]
}

/// The bundle of authorities, and in `env` the variables that name it.
pub(crate) fn trusted<'a>(
    root: &Dir,
    trust: &Trust,
    env: &mut Vec<(String, String)>,
) -> Result<Option<StepMount<'a>>, StepError> {
    let Trust::Extra(extra) = trust else {
        return Ok(None);
    };
    let image = image_bundle(root)?;
    env.extend(trust::variables(env));
    Ok(Some(StepMount {
        target: trust::BUNDLE_PATH.to_owned(),
        kind: MountKind::File {
            content: trust::bundle(&image, extra),
            mode: 0o644,
        },
    }))
}

fn image_bundle(root: &Dir) -> Result<Vec<u8>, StepError> {
    for path in trust::IMAGE_BUNDLES {
        match root.open_file_in_root(path) {
            Ok(file) => {
                let mut bundle = Vec::new();
                std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BUNDLE), &mut bundle)
                    .map_err(|cause| StepError::ReadBundle {
                        path: path.to_owned(),
                        cause,
                    })?;
                return Ok(bundle);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Vec::new())
}

/// A user as the kernel knows it, looked up in a root; no name means root.
pub(crate) fn user(root: &Dir, name: &str) -> Result<kiln_exec::User, kiln_tree::users::UserError> {
    let name = if name.is_empty() { "0" } else { name };
    let user = kiln_tree::users::resolve_user(root, name)?;
    Ok(kiln_exec::User {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
        home: user.home,
    })
}
