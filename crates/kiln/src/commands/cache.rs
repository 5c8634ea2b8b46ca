//! `kiln cache`: the cache mounts of RUN steps.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use kiln_base::{CancelToken, Timestamp};
use kiln_engine::{CacheMountError, CacheMountRow, Engine};
use kiln_oci::Compression;
use kiln_store::{CacheMount, Space};
use serde_json::{Value, json};

use super::Invocation;
use crate::args::{ByteSize, CacheCommand, CacheCommandArgs, CachePruneArgs, ReportFormat};
use crate::error::{Blame, CliError, Exit};
use crate::interrupt;
use crate::table::Table;
use crate::terminal::{self, print, tell};

/// Each text on a line of its own.
pub(super) fn one_a_line(texts: impl Iterator<Item = String>) -> String {
    texts.fold(String::new(), |lines, text| lines + &text + "\n")
}

pub(super) fn cache(
    args: &CacheCommandArgs,
    invocation: &Invocation,
) -> Result<ExitCode, CliError> {
    let engine = invocation.open_engine()?;
    match &args.command {
        CacheCommand::Ls { quiet, format } => {
            let rows = engine.cache_mounts()?;
            print(&match (quiet, format) {
                (true, _) => {
                    let ids = rows.iter().map(|row| format!("@{}", row.mount.number));
                    one_a_line(ids)
                }
                (false, ReportFormat::Json) => {
                    let rows: Vec<Value> = rows.iter().map(row_json).collect();
                    format!("{:#}\n", Value::from(rows))
                }
                (false, ReportFormat::Table) => table(&rows, super::now()),
            })?;
        }
        CacheCommand::Rm { ids } => {
            let mut mounts = Vec::new();
            for id in ids {
                mounts.extend(engine.find_cache_mounts(id)?);
            }
            for mount in mounts {
                if engine.store().is_cache_mount_in_use(mount.number)? {
                    return Err(CacheMountError::InUse(mount.key.id).into());
                }
                if engine.store().remove_cache_mount(mount.number)? {
                    print(&removed(&mount))?;
                }
            }
        }
        CacheCommand::Prune(args) => prune(&engine, args)?,
        CacheCommand::Export { id, output } => {
            let path = output.as_deref().filter(|path| *path != Path::new("-"));
            export(&engine, id, path, invocation)?;
        }
        CacheCommand::Import {
            file,
            id,
            namespace,
            if_exists,
        } => {
            let wanted = (id.as_deref(), namespace.as_deref());
            import(&engine, (file, *if_exists), wanted, invocation)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(rows: &[CacheMountRow], now: Timestamp) -> String {
    let mut table = Table::new(["NUMBER", "ID", "NAMESPACE", "SIZE", "USED", "STATE"]);
    for CacheMountRow {
        mount,
        in_use,
        is_reachable,
    } in rows
    {
        let seconds = now.seconds().saturating_sub(mount.last_used.seconds());
        let state = match (in_use, is_reachable) {
            (true, _) => "in use",
            (false, true) => "",
            (false, false) => "other ids",
        };
        table.row([
            format!("@{}", mount.number),
            printable(&mount.key.id),
            printable(&mount.key.namespace),
            ByteSize(size(mount)).to_string(),
            ago(seconds),
            state.to_owned(),
        ]);
    }
    table.to_string()
}

/// Ids come from Dockerfiles, and from archives.
fn printable(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

fn ago(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{}s ago", seconds.max(0)),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

fn size(mount: &CacheMount) -> u64 {
    mount.space.unwrap_or_default().disk
}

fn row_json(row: &CacheMountRow) -> Value {
    let mount = &row.mount;
    json!({
        "number": mount.number,
        "id": mount.key.id,
        "namespace": mount.key.namespace,
        "bytes": size(mount),
        "apparentBytes": mount.space.unwrap_or_default().apparent,
        "created": mount.created.to_string(),
        "lastUsed": mount.last_used.to_string(),
        "inUse": row.in_use,
        "reachable": row.is_reachable,
        "uid": mount.owner.uid,
        "gid": mount.owner.gid,
        "mode": format!("{:04o}", mount.owner.mode),
    })
}

fn removed(mount: &CacheMount) -> String {
    format!("Deleted: @{} {}\n", mount.number, printable(&mount.key.id))
}

fn prune(engine: &Engine, args: &CachePruneArgs) -> Result<(), CliError> {
    let until = args.until.map(|span| {
        let seconds = i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_seconds(super::now().seconds().saturating_sub(seconds))
    });
    let mut freed = Space::default();
    for mount in going(engine.store().measure_cache_mounts()?, args, until) {
        if engine.store().remove_cache_mount(mount.number)? {
            freed.disk += size(&mount);
            print(&removed(&mount))?;
        } else {
            tell(&format!(
                "`{}` is in use and stays\n",
                printable(&mount.key.id)
            ));
        }
    }
    print(&format!(
        "Total reclaimed space: {}\n",
        ByteSize(freed.disk)
    ))
}

/// Those that are to go.
fn going(
    mut mounts: Vec<CacheMount>,
    args: &CachePruneArgs,
    until: Option<Timestamp>,
) -> Vec<CacheMount> {
    mounts.retain(|mount| {
        (args.ids.is_empty() || args.ids.contains(&mount.key.id))
            && until.is_none_or(|until| mount.last_used < until)
    });
    let Some(ByteSize(keep)) = args.keep else {
        return mounts;
    };
    mounts.sort_by_key(|mount| std::cmp::Reverse((mount.last_used, mount.number)));
    let mut kept = 0_u64;
    mounts.retain(|mount| {
        kept = kept.saturating_add(size(mount));
        kept > keep
    });
    mounts
}

fn export(
    engine: &Engine,
    id: &str,
    path: Option<&Path>,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let cancel = CancelToken::new();
    let _watch = interrupt::watch(cancel.clone(), tell);
    let Some(path) = path else {
        if terminal::stdout_is_terminal() {
            return Err(CliError::usage(
                "standard output is a terminal, not a place for an archive",
            )
            .hint("write to a file: `-o FILE.tar.zst`, or redirect: `> FILE`"));
        }
        let sink = io::BufWriter::new(io::stdout().lock());
        engine.export_cache_mount(id, Compression::None, sink, &cancel)?;
        return Ok(());
    };
    let name = path.to_string_lossy();
    let ends = |ending: &str| name.ends_with(ending);
    let compression = match () {
        () if ends(".zst") || ends(".tzst") => Compression::Zstd,
        () if ends(".gz") || ends(".tgz") => Compression::Gzip,
        () => Compression::None,
    };
    let path = invocation.environment.resolve(path);
    // A reader never sees half of it, and what was there stays if this fails.
    let mut temporary = path.clone().into_os_string();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let file = kiln_sys::files::create(&temporary)?;
    let mut sink = io::BufWriter::new(file);
    let written = engine
        .export_cache_mount(id, compression, &mut sink, &cancel)
        .and_then(|mount| sink.flush().map(|()| mount).map_err(CacheMountError::Write));
    match written {
        Ok(mount) => {
            kiln_sys::files::rename(&temporary, &path)?;
            tell(&format!(
                "wrote `{}` to {}\n",
                printable(&mount.key.id),
                path.display()
            ));
            Ok(())
        }
        Err(error) => {
            _ = kiln_sys::files::remove_file(&temporary);
            Err(error.into())
        }
    }
}

fn import(
    engine: &Engine,
    (file, if_exists): (&Path, bool),
    wanted: (Option<&str>, Option<&str>),
    invocation: &Invocation,
) -> Result<(), CliError> {
    let cancel = CancelToken::new();
    let _watch = interrupt::watch(cancel.clone(), tell);
    let id = if file == Path::new("-") {
        engine.import_cache_mount(io::stdin(), wanted, &cancel)?
    } else {
        let path = invocation.environment.resolve(file);
        if if_exists && !kiln_sys::files::exists(&path) {
            tell(&format!("{} is not there yet\n", path.display()));
            return Ok(());
        }
        engine.import_cache_mount(kiln_sys::files::open(&path)?, wanted, &cancel)?
    };
    print(&format!("{}\n", printable(&id)))
}

impl From<CacheMountError> for CliError {
    fn from(error: CacheMountError) -> Self {
        match error {
            CacheMountError::Store(error) => error.into(),
            CacheMountError::Unknown(_) => {
                Self::usage(error).hint("`kiln cache ls` lists the cache mounts")
            }
            CacheMountError::Ambiguous { .. } => {
                Self::usage(error).hint("name one by its number, as `kiln cache ls` shows it")
            }
            CacheMountError::NoId => Self::usage(error).hint("name it: `--id ID`"),
            CacheMountError::Device(_) | CacheMountError::Unpack(_) => Self::usage(error),
            CacheMountError::InUse(_) => {
                Self::new(Blame::User, Exit::General, error).hint("wait for the build to end")
            }
            CacheMountError::Cancelled(_) => Self::new(Blame::User, Exit::Cancelled, error),
            CacheMountError::Archive { .. }
            | CacheMountError::Diff(_)
            | CacheMountError::Read(_)
            | CacheMountError::Write(_)
            | CacheMountError::Fs(_) => Self::new(Blame::Environment, Exit::General, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use kiln_store::{CacheMountKey, CacheMountOwner};

    use super::*;
    use crate::args::Span;

    fn mount(number: i64, id: &str, disk: u64) -> CacheMount {
        CacheMount {
            number,
            key: CacheMountKey {
                namespace: String::new(),
                id: id.to_owned(),
                scope: Vec::new(),
            },
            owner: CacheMountOwner {
                uid: 0,
                gid: 0,
                mode: 0o755,
            },
            created: Timestamp::EPOCH,
            last_used: Timestamp::from_seconds(1000 * number),
            space: Some(Space {
                apparent: disk,
                disk,
            }),
            is_filled: true,
        }
    }

    #[test]
    fn mounts_are_listed() {
        let row = |mount, in_use, is_reachable| CacheMountRow {
            mount,
            in_use,
            is_reachable,
        };
        let rows = [
            row(mount(1, "/root/.cache/go-build", 123_456_789), true, true),
            row(mount(2, "apt\u{1b}[31m", 0), false, false),
        ];
        expect![[r#"
            NUMBER   ID                      NAMESPACE   SIZE    USED      STATE
            @1       /root/.cache/go-build               123MB   1h ago    in use
            @2       apt�[31m                            0B      50m ago   other ids
        "#]]
        .assert_eq(&table(&rows, Timestamp::from_seconds(5000)));
    }

    #[track_caller]
    fn check(args: &CachePruneArgs, until: Option<i64>, expected: &[i64]) {
        let mounts = vec![mount(1, "a", 10), mount(2, "b", 20), mount(3, "a", 30)];
        let until = until.map(Timestamp::from_seconds);
        let mut numbers: Vec<i64> = going(mounts, args, until)
            .iter()
            .map(|mount| mount.number)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_prune_takes_what_it_is_told() {
        let args = |ids: &[&str], keep: Option<u64>| CachePruneArgs {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            until: None::<Span>,
            keep: keep.map(ByteSize),
        };
        check(&args(&[], None), None, &[1, 2, 3]);
        check(&args(&["a"], None), None, &[1, 3]);
        check(&args(&[], None), Some(2500), &[1, 2]);
        check(&args(&[], Some(50)), None, &[1]);
        check(&args(&[], Some(1000)), None, &[]);
        check(&args(&[], Some(0)), None, &[1, 2, 3]);
    }
}
