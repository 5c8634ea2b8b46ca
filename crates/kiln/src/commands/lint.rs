//! `kiln lint`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Invocation;
use super::question::Subject;
use crate::args::{LintArgs, LintFormat};
use crate::error::{CliError, Exit};
use crate::terminal::print;

/// The file that is checked where none is named.
const DEFAULT: &str = "Dockerfile";

pub(super) fn lint(args: &LintArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let files = if args.files.is_empty() {
        vec![PathBuf::from(DEFAULT)]
    } else {
        args.files.clone()
    };
    if args.format == LintFormat::Sarif && files.len() > 1 {
        return Err(CliError::usage("a SARIF report is about one file"));
    }
    let platform = invocation.settings.platform()?;
    let mut is_clean = true;
    let mut reports = Vec::new();
    for file in &files {
        let path = invocation.environment.resolve(file);
        let subject = Subject::file(&path, &file.display().to_string(), platform.clone())?;
        let (text, clean) = subject.check(|report| {
            let text = match args.format {
                LintFormat::Text => report.to_text(),
                LintFormat::Json => report.to_json(),
                LintFormat::Sarif => report.to_sarif(),
            };
            (text, report.is_clean())
        });
        is_clean &= clean;
        if !text.is_empty() {
            reports.push(text.trim_end().to_owned());
        }
    }
    if !reports.is_empty() {
        let between = match args.format {
            LintFormat::Text => "\n\n",
            // One document after the other, each from its own line on.
            LintFormat::Json | LintFormat::Sarif => "\n",
        };
        print(&(reports.join(between) + "\n"))?;
    }
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Build.code())
    })
}
