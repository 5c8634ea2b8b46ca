//! `kiln config`, `completions`, `man` and `version`: kiln about itself.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::Invocation;
use crate::args::{self, CompletionsArgs, ConfigArgs, ConfigCommand, ManArgs, VersionArgs};
use crate::error::{Blame, CliError, Exit};
use crate::settings::show;
use crate::terminal::print;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn config(args: &ConfigArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let ConfigCommand::Show { json } = args.command;
    let (settings, layer) = (&invocation.settings, &invocation.layer);
    let text = if json {
        format!("{:#}\n", show::as_json(settings, layer))
    } else {
        show::as_text(settings, layer)
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::table(), "kiln", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(args: &ManArgs) -> Result<ExitCode, CliError> {
    let mut table = args::table();
    table.build();
    if let Some(directory) = &args.directory {
        write_pages(&table, directory)?;
        return Ok(ExitCode::SUCCESS);
    }
    let command = match &args.command {
        None => table,
        Some(name) => page_of(&table, name)
            .ok_or_else(|| CliError::usage(format!("there is no command `{name}`")))?,
    };
    print(&page(command)?)?;
    Ok(ExitCode::SUCCESS)
}

/// A command as a program of its own, `kiln-build`, as manual pages name it.
fn page_of(table: &clap::Command, name: &str) -> Option<clap::Command> {
    let command = table.find_subcommand(name)?.clone();
    let full = format!("kiln-{}", command.get_name());
    Some(command.name(full.clone()).display_name(full))
}

fn page(command: clap::Command) -> Result<String, CliError> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .manual("kiln")
        .render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn write_pages(table: &clap::Command, directory: &Path) -> Result<(), CliError> {
    let commands = table
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    let pages = commands.filter_map(|command| page_of(table, command.get_name()));
    for command in pages.chain([table.clone()]) {
        let path = directory.join(format!("{}.1", command.get_name()));
        let text = page(command)?;
        kiln_sys::files::write(&path, text.as_bytes())
            .map_err(|error| CliError::new(Blame::Environment, Exit::General, error))?;
    }
    Ok(())
}

pub(super) fn version(args: &VersionArgs) -> Result<ExitCode, CliError> {
    if args.json {
        print(&format!(
            "{}\n",
            json!({"name": "kiln", "version": VERSION})
        ))?;
    } else {
        print(&format!("kiln {VERSION}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
