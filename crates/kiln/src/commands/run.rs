//! `kiln run`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_base::events::Stream;
use kiln_engine::{Control, RunRequest, Stdio, Volume};

use super::Invocation;
use crate::args::RunArgs;
use crate::error::CliError;
use crate::interrupt;
use crate::render::{Mode, Progress, Work};
use crate::settings::build::{extra_hosts, network};
use crate::settings::trust;

pub(super) fn run(args: &RunArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    if args.tty && !io::stdin().is_terminal() {
        return Err(CliError::usage("`-t` needs a terminal on standard input")
            .hint("leave it out when input comes from a pipe or a file"));
    }
    let request = request(args, invocation)?;
    let engine = invocation.open_engine()?;
    // Only a pull or a first unpacking has anything to say.
    let progress = Progress::begin(Work::Pull, Mode::Plain, invocation.style, None);
    let cancel = CancelToken::new();
    let control = Control::new();
    let watch = interrupt::forward(control.clone(), cancel.clone());
    let mut output = |stream: Stream, bytes: &[u8]| pass_on(stream, bytes);
    let result = engine.run(
        &request,
        &progress.events(),
        &mut output,
        (&control, &cancel),
    );
    drop(watch);
    match result {
        Ok(status) => Ok(ExitCode::from(
            u8::try_from(status.shell_code()).unwrap_or(u8::MAX),
        )),
        Err(error) => Err(progress.fail(error.into())),
    }
}

fn request(args: &RunArgs, invocation: &Invocation) -> Result<RunRequest, CliError> {
    let (settings, environment) = (&invocation.settings, &invocation.environment);
    let env = args.env.iter().filter_map(|variable| {
        let value = variable
            .value
            .clone()
            .or_else(|| environment.passed_on(&variable.name))?;
        Some((variable.name.clone(), value))
    });
    let volumes = args.volumes.iter().map(|volume| Volume {
        source: environment.resolve(&volume.source),
        target: volume.target.to_string_lossy().into_owned(),
        read_only: volume.read_only,
    });
    // An empty entry point removes the image's, as with docker.
    let entrypoint = args
        .entrypoint
        .as_ref()
        .map(|program| match program.as_str() {
            "" => Vec::new(),
            program => vec![program.to_owned()],
        });
    Ok(RunRequest {
        image: args.image.clone(),
        platform: settings.platform()?.clone(),
        command: args.command.clone(),
        entrypoint,
        env: env.collect(),
        workdir: args.workdir.clone(),
        user: args.user.clone(),
        volumes: volumes.collect(),
        hostname: args.hostname.clone(),
        network: network(settings.network),
        extra_hosts: extra_hosts(&args.add_hosts),
        stdio: match (args.tty, args.interactive) {
            (true, _) => Stdio::Terminal,
            (false, true) => Stdio::Inherit,
            (false, false) => Stdio::Outputs,
        },
        trust: trust::read(&settings.trust_host_cas, environment)?,
    })
}

/// What the program writes is kiln's own output. A reader that went away is the program's to notice.
fn pass_on(stream: Stream, bytes: &[u8]) {
    _ = match stream {
        Stream::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        }
        Stream::Stderr => io::stderr().lock().write_all(bytes),
    };
}
