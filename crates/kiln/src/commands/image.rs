//! `kiln images`, `inspect`, `tag` and `rm`: the images in the local store.

use std::fmt::Write as _;
use std::process::ExitCode;

use kiln_base::Timestamp;
use kiln_engine::ImageRow;
use kiln_oci::{Digest, Platform, Reference};
use serde_json::{Value, json};

use super::Invocation;
use crate::args::{ByteSize, ImagesArgs, InspectArgs, ReportFormat, RmArgs, TagArgs};
use crate::error::CliError;
use crate::settings::parse_name;
use crate::table::Table;
use crate::terminal::{self, print};

/// How many digits of an ID are shown, as docker does.
const SHORT_ID: usize = 12;

pub(super) fn images(args: &ImagesArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let rows = invocation.open_engine()?.images()?;
    let rows: Vec<&ImageRow> = rows
        .iter()
        .filter(|row| args.name.as_ref().is_none_or(|name| is_called(row, name)))
        .collect();
    let text = match (args.quiet, args.format) {
        (true, _) => ids(&rows, args.no_trunc),
        (false, ReportFormat::Json) => {
            let rows: Vec<Value> = rows.iter().map(|row| row_json(row)).collect();
            format!("{:#}\n", Value::from(rows))
        }
        (false, ReportFormat::Table) => table(&rows, args, super::now()),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a name, with or without its tag, is the row's.
fn is_called(row: &ImageRow, name: &str) -> bool {
    let Some(reference) = &row.name else {
        return false;
    };
    [
        reference.familiar(),
        reference.familiar_name(),
        reference.to_string(),
        reference.name(),
    ]
    .iter()
    .any(|known| known == name)
}

/// Each ID once, in the order of the rows.
fn ids(rows: &[&ImageRow], in_full: bool) -> String {
    let mut text = String::new();
    let mut seen: Vec<&Digest> = Vec::new();
    for row in rows {
        if !seen.contains(&&row.id) {
            seen.push(&row.id);
            _ = writeln!(text, "{}", shown_id(&row.id, in_full));
        }
    }
    text
}

fn shown_id(id: &Digest, in_full: bool) -> String {
    if in_full {
        id.to_string()
    } else {
        id.hex().chars().take(SHORT_ID).collect()
    }
}

fn table(rows: &[&ImageRow], args: &ImagesArgs, now: Timestamp) -> String {
    let mut table = if args.digests {
        Table::new([
            "REPOSITORY",
            "TAG",
            "DIGEST",
            "IMAGE ID",
            "PLATFORM",
            "CREATED",
            "SIZE",
        ])
    } else {
        Table::new([
            "REPOSITORY",
            "TAG",
            "IMAGE ID",
            "PLATFORM",
            "CREATED",
            "SIZE",
        ])
    };
    for row in rows {
        let repository = row
            .name
            .as_ref()
            .map_or_else(|| "<none>".to_owned(), Reference::familiar_name);
        let tag = row
            .name
            .as_ref()
            .and_then(Reference::tag)
            .unwrap_or("<none>")
            .to_owned();
        let id = shown_id(&row.id, args.no_trunc);
        let platforms: Vec<String> = row.platforms.iter().map(Platform::to_string).collect();
        let platforms = platforms.join(",");
        let created = row
            .created
            .map_or_else(|| "unknown".to_owned(), |time| ago(time, now));
        let size = ByteSize(row.size).to_string();
        if args.digests {
            let digest = row.descriptor.digest.to_string();
            table.row([repository, tag, digest, id, platforms, created, size]);
        } else {
            table.row([repository, tag, id, platforms, created, size]);
        }
    }
    table.to_string()
}

/// How long ago something was, in one unit: `3 days ago`.
fn ago(time: Timestamp, now: Timestamp) -> String {
    const UNITS: [(i64, &str); 6] = [
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (7 * 86_400, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
    ];
    let seconds = now.seconds().saturating_sub(time.seconds());
    match UNITS.iter().find(|(length, _)| seconds >= *length) {
        _ if seconds < 0 => time.to_string(),
        None => "just now".to_owned(),
        Some((length, unit)) => match seconds / length {
            1 => format!("1 {unit} ago"),
            count => format!("{count} {unit}s ago"),
        },
    }
}

fn row_json(row: &ImageRow) -> Value {
    json!({
        "name": row.name.as_ref().map(Reference::familiar),
        "id": row.id.to_string(),
        "digest": row.descriptor.digest.to_string(),
        "mediaType": row.descriptor.media_type.to_string(),
        "platforms": row.platforms.iter().map(Platform::to_string).collect::<Vec<_>>(),
        "created": row.created.map(|time| time.to_string()),
        "size": row.size,
    })
}

pub(super) fn inspect(args: &InspectArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let engine = invocation.open_engine()?;
    if args.layers {
        super::layers::layers(&engine, args, invocation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut documents = Vec::new();
    for name in &args.images {
        let platform = invocation.settings.platform()?;
        if args.manifest && args.platform.is_none() {
            terminal::print_bytes(&engine.image_document(name)?)?;
            continue;
        }
        let image = if args.platform.is_some() {
            engine.open_image_for(name, platform)?
        } else {
            engine.open_image(name, platform)?
        };
        if args.config || args.manifest {
            let bytes = if args.config {
                image.config_bytes()
            } else {
                image.manifest_bytes()
            };
            terminal::print_bytes(bytes)?;
            continue;
        }
        let names = engine.images()?.into_iter().filter_map(|row| {
            let same = row.id == *image.id();
            row.name.filter(|_| same).map(|name| name.familiar())
        });
        documents.push(json!({
            "id": image.id().to_string(),
            "names": names.collect::<Vec<_>>(),
            "digest": image.descriptor().digest.to_string(),
            "mediaType": image.descriptor().media_type.to_string(),
            "platform": image.config().platform.to_string(),
            "size": image.size(),
            "manifest": document(image.manifest_bytes())?,
            "config": document(image.config_bytes())?,
        }));
    }
    if !documents.is_empty() {
        print(&format!("{:#}\n", Value::from(documents)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn document(bytes: &[u8]) -> Result<Value, CliError> {
    serde_json::from_slice(bytes).map_err(CliError::bug)
}

pub(super) fn tag(args: &TagArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let names = args
        .names
        .iter()
        .map(|name| parse_name(name))
        .collect::<Result<Vec<_>, _>>()?;
    let engine = invocation.open_engine()?;
    for name in &names {
        engine.tag(&args.image, name)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rm(args: &RmArgs, invocation: &Invocation) -> Result<ExitCode, CliError> {
    let engine = invocation.open_engine()?;
    for image in &args.images {
        let removed = match engine.remove_image(image) {
            Err(kiln_engine::OutputError::NoSuchImage(_)) if args.force => continue,
            other => other?,
        };
        let mut text = String::new();
        for name in &removed.names {
            _ = writeln!(text, "Untagged: {}", name.familiar());
        }
        if let Some(digest) = &removed.image {
            _ = writeln!(text, "Deleted: {digest}");
        }
        print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let now = Timestamp::from_seconds(1_000_000_000);
        let before = |seconds: i64| ago(Timestamp::from_seconds(1_000_000_000 - seconds), now);
        assert_eq!(before(5), "just now");
        assert_eq!(before(60), "1 minute ago");
        assert_eq!(before(7_300), "2 hours ago");
        assert_eq!(before(86_400 * 45), "1 month ago");
        assert_eq!(before(86_400 * 800), "2 years ago");
        assert_eq!(before(-60), "2001-09-09T01:47:40Z");
    }
}
