//! What `--sbom` asks for.

use std::path::Path;

use kiln_engine::RootfsBill;
use kiln_rootfs::sbom::BillFormat;

use super::beside;
use crate::error::CliError;
use crate::settings::Environment;

/// The bills of materials of a disk, as `FORMAT[,dest=FILE]`.
pub(super) fn bills(
    asked: &[String],
    output: &Path,
    environment: &Environment,
) -> Result<Vec<RootfsBill>, CliError> {
    let mut bills = Vec::new();
    for text in asked {
        let (format, dest) = parse(text).ok_or_else(|| {
            CliError::usage(format!("`--sbom={text}` is not known"))
                .hint("it can be `spdx` or `cyclonedx`, and `,dest=FILE` after it")
        })?;
        let path = match dest {
            Some(path) => environment.resolve(Path::new(path)),
            None => beside(output, format.extension()),
        };
        bills.push(RootfsBill { format, path });
    }
    Ok(bills)
}

fn parse(text: &str) -> Option<(BillFormat, Option<&str>)> {
    let (format, rest) = match text.split_once(',') {
        Some((format, rest)) => (format, Some(rest)),
        None => (text, None),
    };
    let format = match format {
        // As `kiln build` takes it.
        "true" => BillFormat::Spdx,
        name => BillFormat::from_name(name)?,
    };
    let dest = match rest {
        Some(rest) => Some(rest.strip_prefix("dest=").filter(|path| !path.is_empty())?),
        None => None,
    };
    Some((format, dest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_places_are_read() {
        assert_eq!(parse("spdx"), Some((BillFormat::Spdx, None)));
        assert_eq!(parse("true"), Some((BillFormat::Spdx, None)));
        let there = Some((BillFormat::CycloneDx, Some("a,b.json")));
        assert_eq!(parse("cyclonedx,dest=a,b.json"), there);
        for wrong in ["", "syft", "spdx,", "spdx,dest=", "spdx,to=x", "SPDX"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
