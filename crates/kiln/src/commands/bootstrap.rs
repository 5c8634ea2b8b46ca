//! `kiln bootstrap`.

use std::process::ExitCode;

use kiln_base::CancelToken;
use kiln_bootstrap::{BootstrapRequest, Variant};
use serde_json::json;

use super::Invocation;
use crate::args::BootstrapArgs;
use crate::error::CliError;
use crate::interrupt;
use crate::render::{Mode, Progress, Work};
use crate::settings::env::PROXIES;
use crate::settings::{parse_name, source_date_epoch};
use crate::terminal::{self, print, tell};

pub(super) fn bootstrap(
    args: &BootstrapArgs,
    invocation: &Invocation,
) -> Result<ExitCode, CliError> {
    let request = request(args, invocation)?;
    let (store, grade) = invocation.open_store()?;
    let mode = if args.quiet {
        Mode::Quiet
    } else {
        terminal::mode(invocation.settings.progress, &invocation.environment)
    };
    let progress = Progress::begin(Work::Bootstrap, mode, invocation.style, invocation.log());
    let cancel = CancelToken::new();
    let watch = interrupt::watch(cancel.clone(), progress.notes());
    let result = kiln_bootstrap::bootstrap(&request, grade, &store, &progress.events(), &cancel);
    drop(watch);
    let image = match result {
        Ok(image) => image,
        Err(error) => return Err(progress.fail(error.into())),
    };
    let (digest, name) = (image.manifest.digest.to_string(), request.name.familiar());
    progress.succeed(&json!({"containerimage.digest": digest, "image.name": name}));
    match mode {
        Mode::Quiet => print(&format!("{digest}\n"))?,
        Mode::Json | Mode::RawJson | Mode::None => {}
        Mode::Tty | Mode::Plain => tell(&format!("image {digest} as {name}\n")),
    }
    Ok(ExitCode::SUCCESS)
}

fn request(args: &BootstrapArgs, invocation: &Invocation) -> Result<BootstrapRequest, CliError> {
    let (settings, environment) = (&invocation.settings, &invocation.environment);
    let mut request = BootstrapRequest::new(parse_name(&args.name)?, args.suite.as_deref())?;
    if let Some(name) = &args.variant {
        request.variant = Variant::from_name(name).ok_or_else(|| {
            CliError::usage(format!("there is no variant `{name}`"))
                .hint("the variants are essential, apt, minbase, important, buildd")
        })?;
    }
    if !args.components.is_empty() {
        request.components.clone_from(&args.components);
    }
    request.platform = settings.platform()?.clone();
    request.mirrors = settings.bootstrap_mirror.iter().cloned().collect();
    request.include.clone_from(&args.include);
    request.epoch = source_date_epoch(environment)?;
    let set = PROXIES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), environment.passed_on(name)?)));
    request.proxies = set.collect();
    request.compression = invocation.packing()?.compression;
    request.threads = settings.jobs;
    Ok(request)
}
