//! `kiln history`: past builds.

mod carry;
mod record;
mod replay;
mod report;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use kiln_base::Timestamp;
use kiln_store::{BuildFilter, BuildRecord, BuildStatus, HistoryError, Store};
use serde_json::Value;

pub(super) use record::Recorder;

use super::Invocation;
use super::cache::one_a_line;
use crate::args::{HistoryArgs, HistoryCommand, HistoryLsArgs, LogFormat, ReportFormat, Span};
use crate::error::{Blame, CliError, Exit};
use crate::render::Plain;
use crate::table::Table;
use crate::terminal::{self, print, tell};
use replay::Replay;

/// How many digits of an ID are shown.
const SHORT_ID: usize = 12;
/// Columns of the table besides the name's.
const OTHER_COLUMNS: usize = 60;
/// A record of a build is not longer than this, in bytes.
const MOST_IMPORTED: u64 = 256 << 20;
/// Reports that are kept in the store.
const KEPT_REPORTS: usize = 20;

pub(super) fn history(args: &HistoryArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let store = invocation.open_store()?.0;
    let resolve = |path: &Path| invocation.environment.resolve(path);
    match &args.command {
        HistoryCommand::Ls(args) => ls(args, &store)?,
        HistoryCommand::Inspect { build, format } => {
            let (build, replay) = open(&store, &build.build)?;
            let now = super::now();
            print(&match format {
                ReportFormat::Json => {
                    format!("{:#}\n", report::document(&build, &replay, now))
                }
                ReportFormat::Table => {
                    let table = report::for_people(&build, &replay, now);
                    let table = kiln_report::table(&table, terminal::size().columns);
                    format!("{}\n{table}", report::heading(&build, &replay))
                }
            })?;
        }
        HistoryCommand::Logs { build, progress } => {
            let (build, lines) = lines(&store, &build.build)?;
            print(&match progress {
                LogFormat::Json => lines.join("\n") + "\n",
                LogFormat::Plain => plain(&build, &replay::read(&lines)),
            })?;
        }
        HistoryCommand::Rm { builds, all } => rm(&store, builds, *all)?,
        HistoryCommand::Open { build } => {
            let (build, replay) = open(&store, &build.build)?;
            let folder = invocation.settings.root.join("reports");
            kiln_sys::files::create_dir_all(&folder, 0o700)?;
            remove_oldest(&folder);
            let path = folder.join(format!("{}.html", build.id));
            let page = kiln_report::html(&report::for_people(&build, &replay, super::now()));
            write(Some(&path), &page)?;
            print(&format!("{}\n", path.display()))?;
        }
        HistoryCommand::Report { build, output } => {
            let (build, replay) = open(&store, &build.build)?;
            let page = kiln_report::html(&report::for_people(&build, &replay, super::now()));
            let default = || format!("kiln-build-{}.html", short(&build.id)).into();
            let output = output.clone().unwrap_or_else(default);
            let path = resolve(&output);
            let path = (output != Path::new("-")).then_some(path.as_path());
            write(path, &page)?;
            if let Some(path) = path {
                print(&format!("{}\n", path.display()))?;
            }
        }
        HistoryCommand::Trace { build, output } => {
            let (build, replay) = open(&store, &build.build)?;
            write(
                file(output.as_deref(), resolve).as_deref(),
                &report::trace(&build, &replay),
            )?;
        }
        HistoryCommand::Export { build, output } => {
            let (build, lines) = lines(&store, &build.build)?;
            write(
                file(output.as_deref(), resolve).as_deref(),
                &carry::write(&build, &lines),
            )?;
        }
        HistoryCommand::Import { file } => import(&store, file, resolve)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Where to write; `None` for standard output.
fn file(
    path: Option<&Path>,
    resolve: impl Fn(&Path) -> std::path::PathBuf,
) -> Option<std::path::PathBuf> {
    path.filter(|path| *path != Path::new("-")).map(resolve)
}

fn write(path: Option<&Path>, text: &str) -> Result<(), CliError> {
    match path {
        Some(path) => Ok(kiln_sys::files::write(path, text.as_bytes())?),
        None => print(text),
    }
}

fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// The build that `text` names.
fn find(store: &Store, text: &str) -> Result<BuildRecord, CliError> {
    let text = text.rsplit('/').next().unwrap_or(text);
    let Some(back) = text.strip_prefix('^') else {
        return Ok(store.build(text)?);
    };
    let back: usize = back
        .parse()
        .map_err(|_| CliError::usage(format!("`{text}` is not `^` and a number")))?;
    let filter = BuildFilter {
        limit: back.checked_add(1),
        ..BuildFilter::default()
    };
    let found = store.builds(&filter)?.into_iter().nth(back);
    found.ok_or_else(|| {
        CliError::usage(format!(
            "there are not so many builds in the history: `{text}`"
        ))
        .hint("`kiln history ls` lists them")
    })
}

fn lines(store: &Store, text: &str) -> Result<(BuildRecord, Vec<String>), CliError> {
    let build = find(store, text)?;
    let lines = store.build_events(&build.id)?;
    Ok((build, lines))
}

fn open(store: &Store, text: &str) -> Result<(BuildRecord, Replay), CliError> {
    let (build, lines) = lines(store, text)?;
    let replay = replay::read(&lines);
    Ok((build, replay))
}

fn ls(args: &HistoryLsArgs, store: &Store) -> Result<(), CliError> {
    let now = super::now();
    let builds = store.builds(&filter(args, now)?)?;
    let name_width = if args.no_trunc || !terminal::stdout_is_terminal() {
        usize::MAX
    } else {
        terminal::size()
            .columns
            .saturating_sub(OTHER_COLUMNS)
            .max(16)
    };
    let text = match (args.quiet, args.format) {
        (true, _) => one_a_line(builds.iter().map(|build| build.id.clone())),
        (false, ReportFormat::Json) => {
            let rows: Vec<Value> = builds.iter().map(|build| report::row(build, now)).collect();
            format!("{:#}\n", Value::from(rows))
        }
        (false, ReportFormat::Table) => table(&builds, (args.no_trunc, name_width), now),
    };
    print(&text)
}

fn filter(args: &HistoryLsArgs, now: Timestamp) -> Result<BuildFilter, CliError> {
    let mut filter = BuildFilter {
        limit: args.limit,
        ..BuildFilter::default()
    };
    for text in &args.filters {
        let wrong = || {
            CliError::usage(format!("`{text}` is not a filter of builds")).hint(
            "filters are `status=running|completed|failed|cancelled|interrupted`, `name=IMAGE` and \
             `since=24h`",
        )
        };
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        match name {
            "status" => {
                filter.status = Some(match value {
                    "running" => BuildStatus::Running,
                    "completed" => BuildStatus::Completed,
                    "failed" | "error" => BuildStatus::Failed,
                    "cancelled" | "canceled" => BuildStatus::Cancelled,
                    "interrupted" => BuildStatus::Interrupted,
                    _ => return Err(wrong()),
                });
            }
            "name" => filter.name = Some(crate::settings::parse_name(value)?.familiar()),
            "since" => {
                let span: Span = value.parse().map_err(|_| wrong())?;
                let seconds = i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX);
                let from = now.seconds().saturating_sub(seconds);
                filter.since = Some(Timestamp::from_seconds(from));
            }
            _ => return Err(wrong()),
        }
    }
    Ok(filter)
}

fn table(builds: &[BuildRecord], (in_full, name_width): (bool, usize), now: Timestamp) -> String {
    let mut table = Table::new(["BUILD", "NAME", "STATUS", "CACHED", "STARTED", "TIME"]);
    for build in builds {
        let id = if in_full { &build.id } else { short(&build.id) };
        let time = match build.status {
            BuildStatus::Interrupted => String::new(),
            _ => span(report::duration(build, Duration::ZERO, now)),
        };
        let seconds = now.seconds().saturating_sub(build.started.seconds());
        let age = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        table.row([
            id.to_owned(),
            cut(&report::title(build), name_width),
            report::status_word(build.status).to_owned(),
            format!("{}/{}", build.cached, build.steps),
            format!("{} ago", span_in_one(age)),
            time,
        ]);
    }
    table.to_string()
}

/// The end of a name says more than its beginning.
fn cut(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        return name.to_owned();
    }
    let rest: String = name.chars().skip(count - width + 1).collect();
    format!("…{rest}")
}

/// `350ms`, `1.2s`, `2m05s`.
fn span(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}.{}s", millis / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// `12s`, `5m`, `3h`, `9d`.
fn span_in_one(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// What the build printed, as `--progress=plain` has it, and its error.
fn plain(build: &BuildRecord, replay: &Replay) -> String {
    let mut plain = Plain::default();
    let mut text: String = replay
        .events
        .iter()
        .map(|(event, at)| plain.text(event, *at))
        .collect();
    for (index, message) in replay.errors.iter().enumerate() {
        text.push_str(if index == 0 {
            "error: "
        } else {
            "  caused by: "
        });
        text.push_str(message);
        text.push('\n');
    }
    text.push_str(&replay.source);
    if matches!(build.status, BuildStatus::Interrupted) {
        text.push_str("the build was interrupted here\n");
    }
    text
}

fn rm(store: &Store, builds: &[String], all: bool) -> Result<(), CliError> {
    let ids = if all {
        let builds = store.builds(&BuildFilter::default())?.into_iter();
        let ended = builds.filter(|build| build.status != BuildStatus::Running);
        ended.map(|build| build.id).collect()
    } else {
        let found = builds
            .iter()
            .map(|build| find(store, build).map(|found| found.id));
        found.collect::<Result<Vec<_>, _>>()?
    };
    for id in &ids {
        match store.remove_build(id) {
            // Named twice, or another process was quicker.
            Err(HistoryError::Unknown(_)) => {}
            removed => drop(removed?),
        }
        _ = kiln_sys::files::remove_file(store.root().join("reports").join(format!("{id}.html")));
    }
    if all {
        tell(&format!("removed {} builds from the history\n", ids.len()));
    }
    Ok(())
}

/// Pages are made again when they are asked for.
fn remove_oldest(folder: &Path) {
    let mut names = kiln_sys::files::names(folder).unwrap_or_default();
    names.sort();
    let surplus = (names.len() + 1).saturating_sub(KEPT_REPORTS);
    for name in names.into_iter().take(surplus) {
        _ = kiln_sys::files::remove_file(folder.join(name));
    }
}

fn import(
    store: &Store,
    file: &Path,
    resolve: impl Fn(&Path) -> std::path::PathBuf,
) -> Result<(), CliError> {
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(MOST_IMPORTED)
            .read_to_end(&mut bytes)
            .map_err(|error| CliError::new(Blame::Environment, Exit::General, error))?;
        bytes
    } else {
        kiln_sys::files::read_limited(resolve(file), MOST_IMPORTED)?
    };
    let text = String::from_utf8(bytes).map_err(CliError::usage)?;
    let (build, events) = carry::read(&text).map_err(CliError::usage)?;
    let id = store.import_build(&build, &events)?;
    print(&format!("{id}\n"))
}

impl From<HistoryError> for CliError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Store(error) => error.into(),
            HistoryError::Unknown(_) | HistoryError::Ambiguous { .. } => {
                Self::usage(error).hint("`kiln history ls` lists the builds")
            }
            HistoryError::Running(_) => Self::usage(error),
        }
    }
}
