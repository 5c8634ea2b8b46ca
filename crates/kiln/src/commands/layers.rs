//! `kiln inspect --layers`: what an image's layers hold and waste.

use std::fmt::Write as _;

use kiln_base::CancelToken;
use kiln_engine::{Engine, LayersReport};
use serde_json::{Value, json};

use super::Invocation;
use super::diff::{lookup, shown};
use crate::args::{ByteSize, InspectArgs, ReportFormat};
use crate::error::CliError;
use crate::interrupt;
use crate::table::Table;
use crate::terminal::{self, print, tell};

/// Columns of the table besides the instruction's.
const OTHER_COLUMNS: usize = 62;

/// Prints the layers of each image.
pub(super) fn layers(
    engine: &Engine,
    args: &InspectArgs,
    invocation: &Invocation,
) -> Result<(), CliError> {
    let cancel = CancelToken::new();
    let _watch = interrupt::watch(cancel.clone(), tell);
    let platform = invocation.settings.platform()?;
    let width = if terminal::stdout_is_terminal() {
        terminal::size()
            .columns
            .saturating_sub(OTHER_COLUMNS)
            .max(18)
    } else {
        120
    };
    let mut documents = Vec::new();
    for name in &args.images {
        let image = engine.image_anywhere(name, platform, lookup(args.remote), &cancel)?;
        let report = engine.inspect_layers(&image, args.top, &cancel)?;
        match args.format {
            ReportFormat::Json => documents.push(document(name, &report)),
            ReportFormat::Table => print(&text(name, &report, width))?,
        }
    }
    if args.format == ReportFormat::Json {
        print(&format!("{:#}\n", Value::from(documents)))?;
    }
    Ok(())
}

fn percent(hundredths: u32) -> String {
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn text(name: &str, report: &LayersReport, width: usize) -> String {
    let heading = [
        "#",
        "DIGEST",
        "SIZE",
        "FILES",
        "+",
        "~",
        "-",
        "WASTED",
        "INSTRUCTION",
    ];
    let mut table = Table::new(heading);
    for (number, layer) in report.layers.iter().enumerate() {
        table.row([
            (number + 1).to_string(),
            layer.digest.hex().chars().take(8).collect(),
            ByteSize(layer.size).to_string(),
            ByteSize(layer.files_size).to_string(),
            layer.added.to_string(),
            layer.changed.to_string(),
            layer.removed.to_string(),
            ByteSize(layer.wasted).to_string(),
            instruction(&layer.created_by, width),
        ]);
    }
    let mut text = format!("{}\n\n{table}", shown(name));
    _ = write!(
        text,
        "\nefficiency {}, {} wasted of {}\n",
        percent(report.efficiency),
        ByteSize(report.wasted),
        ByteSize(report.files_size)
    );
    if !report.largest.is_empty() {
        let mut table = Table::new(["SIZE", "LAYER", "LARGEST FILES"]);
        for file in &report.largest {
            table.row([
                ByteSize(file.size).to_string(),
                (file.layer + 1).to_string(),
                shown(&format!("/{}", file.path.display())),
            ]);
        }
        _ = write!(text, "\n{table}");
    }
    text
}

/// What made a layer, on one line, without what is the same each time.
fn instruction(created_by: &str, width: usize) -> String {
    let text = created_by.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.trim_start_matches("/bin/sh -c #(nop) ");
    let text = text.trim_end_matches(" # buildkit");
    let text = shown(&text.replace("RUN /bin/sh -c ", "RUN "));
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
        None => text,
    }
}

fn document(name: &str, report: &LayersReport) -> Value {
    let layers = report.layers.iter().map(|layer| {
        json!({
            "digest": layer.digest.to_string(),
            "diffId": layer.diff_id.as_ref().map(ToString::to_string),
            "size": layer.size,
            "filesSize": layer.files_size,
            "createdBy": layer.created_by,
            "added": layer.added,
            "changed": layer.changed,
            "removed": layer.removed,
            "wasted": layer.wasted,
        })
    });
    let largest = report.largest.iter().map(|file| {
        let path = format!("/{}", file.path.display());
        json!({"path": path, "size": file.size, "layer": file.layer + 1})
    });
    json!({
        "image": name,
        "layers": layers.collect::<Vec<_>>(),
        "largest": largest.collect::<Vec<_>>(),
        "efficiencyPercent": f64::from(report.efficiency) / 100.0,
        "wasted": report.wasted,
        "filesSize": report.files_size,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use kiln_engine::{LargeFile, LayerReport};
    use kiln_oci::Digest;

    use super::*;

    #[test]
    fn layers_are_a_table() {
        let layer = |created_by: &str, wasted| LayerReport {
            digest: Digest::sha256(created_by.as_bytes()),
            size: 1_000_000,
            diff_id: None,
            files_size: 2_500_000,
            created_by: created_by.to_owned(),
            added: 12,
            changed: 3,
            removed: 0,
            wasted,
        };
        let report = LayersReport {
            layers: vec![
                layer("/bin/sh -c #(nop) ADD file:abc in / ", 1500),
                layer(
                    "RUN /bin/sh -c apt-get update && apt-get install -y gcc # buildkit",
                    0,
                ),
            ],
            largest: vec![LargeFile {
                path: "usr/bin/gcc".into(),
                size: 2_000_000,
                layer: 1,
            }],
            wasted: 1500,
            files_size: 5_000_000,
            efficiency: 9_905,
        };
        let text = text("app", &report, 18);
        expect![[r#"
            app

            #   DIGEST     SIZE     FILES    +    ~   -   WASTED   INSTRUCTION
            1   b004e0f2   1.00MB   2.50MB   12   3   0   1.50kB   ADD file:abc in /
            2   61c4fe1e   1.00MB   2.50MB   12   3   0   0B       RUN apt-get updat…

            efficiency 99.05 %, 1.50kB wasted of 5.00MB

            SIZE     LAYER   LARGEST FILES
            2.00MB   2       /usr/bin/gcc
        "#]]
        .assert_eq(&text);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }
}
