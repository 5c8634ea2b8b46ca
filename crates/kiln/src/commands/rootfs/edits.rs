//! What flags and a configuration say of the files on a disk, and of the machine that it is for.

use std::collections::BTreeSet;
use std::time::Duration;

use kiln_engine::{RootfsInit, VerifyBoot};
use kiln_rootfs::boot::WaitFor;
use kiln_rootfs::harden::{HardenOptions, HardenRule};
use kiln_rootfs::init::config;
use kiln_rootfs::optimise::{Level, Options, Rule};
use kiln_rootfs::request::{DiskFormat, DiskRequest, Overrides};
use kiln_rootfs::spec::{InitName, Spec};

use crate::args::{InitChoice, RootAccess, RootfsArgs};
use crate::error::CliError;
use crate::settings::Environment;

/// How long a machine has, in seconds.
const PATIENCE: u64 = 30;

/// What is removed; `None` where nothing is said of that.
pub(super) fn optimise(
    args: &RootfsArgs,
    spec: Option<&Spec>,
) -> Result<Option<Options>, CliError> {
    let asked = &args.content;
    let mut rules = match &asked.optimise {
        Some(text) => rules(text)?,
        None => spec.map(spec_rules).unwrap_or_default(),
    };
    let of_spec = |list: fn(&Spec) -> &Vec<String>| spec.map(list).cloned().unwrap_or_default();
    let mut exclude = of_spec(|spec| &spec.exclude);
    exclude.extend_from_slice(&asked.exclude);
    if rules.is_empty() && exclude.is_empty() {
        return Ok(None);
    }
    rules.insert(Rule::Excluded);
    let mut options = Options::at(Level::None);
    options.rules = rules;
    options.exclude = exclude;
    options.preserve = preserve(args, spec);
    if !asked.keep_locale.is_empty() {
        options.locales.clone_from(&asked.keep_locale);
    }
    Ok(Some(options))
}

fn preserve(args: &RootfsArgs, spec: Option<&Spec>) -> Vec<String> {
    let mut preserve = spec.map(|spec| spec.preserve.clone()).unwrap_or_default();
    preserve.extend_from_slice(&args.content.preserve);
    preserve
}

/// A level, or rules.
fn rules(text: &str) -> Result<BTreeSet<Rule>, CliError> {
    if let Ok(level) = text.parse::<Level>() {
        return Ok(level.rules());
    }
    let rules = text.split(',').map(str::trim).map(str::parse);
    rules.collect::<Result<_, _>>().map_err(|error| {
        CliError::usage(error).hint("the levels are none, safe, balanced, smallest")
    })
}

/// builderd's switches as rules.
fn spec_rules(spec: &Spec) -> BTreeSet<Rule> {
    let wanted = spec.optimise;
    let mut rules = BTreeSet::new();
    if wanted.size {
        rules.extend(Level::Balanced.rules());
    }
    if wanted.cache {
        rules.extend([Rule::PackageCaches, Rule::Temporary, Rule::Logs]);
    }
    if wanted.docs {
        rules.insert(Rule::Documentation);
    }
    if wanted.dev_packages {
        rules.extend([Rule::DevelopmentPackages, Rule::DevelopmentFiles]);
    }
    if wanted.strip {
        rules.insert(Rule::DebugSymbols);
    }
    rules
}

pub(super) fn harden(
    args: &RootfsArgs,
    spec: Option<&Spec>,
) -> Result<Option<HardenOptions>, CliError> {
    let Some(text) = &args.content.harden else {
        return Ok(None);
    };
    let mut options = HardenOptions::all();
    if text != "all" {
        let rules = text
            .split(',')
            .map(|rule| rule.trim().parse::<HardenRule>());
        let rules: Result<_, _> = rules.collect();
        options.rules = rules.map_err(CliError::usage)?;
    }
    options.preserve = preserve(args, spec);
    Ok(Some(options))
}

pub(super) fn init(
    args: &RootfsArgs,
    spec: Option<&Spec>,
    environment: &Environment,
) -> Result<RootfsInit, CliError> {
    let asked = &args.machine;
    let of_spec = spec.and_then(|spec| spec.init);
    let choice = asked.init.unwrap_or(match of_spec {
        None | Some(InitName::Direct) => InitChoice::Direct,
        Some(InitName::Systemd) => InitChoice::Systemd,
        Some(InitName::Custom) => InitChoice::Custom,
    });
    let is_custom = choice == InitChoice::Custom;
    if !is_custom && (asked.init_path.is_some() || asked.init_script.is_some()) {
        return Err(CliError::usage("only a custom init has a path or a script")
            .hint("choose it: `--init custom`"));
    }
    Ok(match choice {
        InitChoice::None => RootfsInit::Image,
        InitChoice::Direct => RootfsInit::Direct,
        InitChoice::Systemd => RootfsInit::Systemd,
        InitChoice::Custom => {
            let path = spec.and_then(|spec| spec.init_script.clone());
            let script = match &asked.init_script {
                Some(path) => Some(
                    kiln_sys::files::read(environment.resolve(path)).map_err(CliError::usage)?,
                ),
                None => None,
            };
            RootfsInit::Custom {
                path: asked.init_path.clone().or(path),
                script,
            }
        }
    })
}

pub(super) fn overrides(
    args: &RootfsArgs,
    spec: Option<&Spec>,
    environment: &Environment,
) -> Result<Overrides, CliError> {
    let asked = &args.machine;
    let mut overrides = spec.map(|spec| spec.runtime.clone()).unwrap_or_default();
    if let Some(text) = &asked.entrypoint {
        overrides.entrypoint = Some(words(text)?);
    }
    if let Some(text) = &asked.cmd {
        overrides.cmd = Some(words(text)?);
    }
    for variable in &asked.env {
        let value = variable.value.clone();
        if let Some(value) = value.or_else(|| environment.passed_on(&variable.name)) {
            overrides.env.push((variable.name.clone(), value));
        }
    }
    let or = |asked: &Option<String>, own: Option<String>| asked.clone().or(own);
    overrides.working_dir = or(&asked.workdir, overrides.working_dir);
    overrides.user = or(&asked.user, overrides.user);
    overrides.hostname = or(&asked.hostname, overrides.hostname);
    Ok(overrides)
}

/// One word, or several as a JSON array.
fn words(text: &str) -> Result<Vec<String>, CliError> {
    if !text.trim_start().starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    serde_json::from_str(text)
        .map_err(|_| CliError::usage(format!("`{text}` is no JSON array of texts")))
}

pub(super) fn root(args: &RootfsArgs, disk: &DiskRequest) -> Result<config::Root, CliError> {
    let format = disk.format;
    // What is unpacked into memory can be written there; what is verified can't.
    let is_writable = (format.is_writable() || format == DiskFormat::Cpio) && !disk.verity;
    let usual = if is_writable {
        RootAccess::Rw
    } else {
        RootAccess::Overlay
    };
    match args.machine.root_access.unwrap_or(usual) {
        RootAccess::Rw if disk.verity => Err(CliError::usage(
            "a disk that is verified can't be written to",
        )
        .hint("leave changes in memory: `--root-access overlay`")),
        RootAccess::Rw if !is_writable => Err(CliError::usage(format!(
            "a disk of the format {} can't be written to",
            format.name()
        ))
        .hint("leave changes in memory: `--root-access overlay`")),
        RootAccess::Rw => Ok(config::Root::ReadWrite),
        RootAccess::Ro => Ok(config::Root::ReadOnly),
        RootAccess::Overlay => Ok(config::Root::Overlay),
    }
}

/// `boot`, and what is waited for.
pub(super) fn verify(args: &RootfsArgs) -> Result<Option<VerifyBoot>, CliError> {
    let asked = &args.machine;
    let Some(text) = &asked.verify else {
        return Ok(None);
    };
    let wrong = || {
        CliError::usage(format!("`--verify {text}` is not known")).hint(
            "it can be `boot`, `boot,output=TEXT`, `boot,port=NUMBER`, `boot,exit` or \
                 `boot,exit=CODE`",
        )
    };
    let (how, what) = text.split_once(',').unwrap_or((text, ""));
    if how != "boot" {
        return Err(wrong());
    }
    let wait_for = match what.split_once('=') {
        None if what.is_empty() => WaitFor::Ready,
        None if what == "exit" => WaitFor::Exit(None),
        Some(("exit", code)) => WaitFor::Exit(Some(code.parse().map_err(|_| wrong())?)),
        Some(("output", text)) if !text.is_empty() => WaitFor::Output(text.to_owned()),
        Some(("port", number)) => WaitFor::Port(number.parse().map_err(|_| wrong())?),
        _ => return Err(wrong()),
    };
    Ok(Some(VerifyBoot {
        wait_for,
        deadline: Duration::from_secs(asked.verify_timeout.unwrap_or(PATIENCE)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_one_word_or_json() {
        assert_eq!(words("a b").unwrap(), ["a b"]);
        assert_eq!(words(r#"["a", "b c"]"#).unwrap(), ["a", "b c"]);
        assert!(words("[1]").is_err());
    }

    #[test]
    fn levels_and_rules_are_read() {
        assert_eq!(rules("balanced").unwrap(), Level::Balanced.rules());
        let named = rules("logs, locales").unwrap();
        assert_eq!(named, BTreeSet::from([Rule::Logs, Rule::Locales]));
        assert!(rules("everything").is_err());
    }
}
