//! The few fields of an archive's Release file that decide an image's times.

use kiln_base::Timestamp;

/// What a Release (or `InRelease`) file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// Who made the archive, for example `Debian`.
    pub(crate) origin: Option<String>,
    /// When the archive was last changed.
    pub(crate) date: Option<Timestamp>,
    /// Debian's names of the ports that it has; none where the file does not say.
    pub(crate) architectures: Vec<String>,
}

impl Release {
    /// Whether the archive has packages for the port, as far as it says.
    pub(crate) fn has_port(&self, debian: &str) -> bool {
        let ports = &self.architectures;
        ports.is_empty() || ports.iter().any(|port| port == debian)
    }

    /// Reads the fields. Signatures are checked by apt, which reads the same file for itself.
    pub(crate) fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text.lines().take_while(|line| !line.starts_with("MD5Sum:"));
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Self {
            origin: field("Origin").map(|origin| origin.trim().to_owned()),
            date: field("Date").and_then(parse_date),
            architectures: field("Architectures")
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// Reads `Sat, 11 Jul 2026 10:16:37 UTC`, the form of Debian's Release files. Other time zones are
/// not written there, and are refused.
fn parse_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_weekday, rest) = text.split_once(',')?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [day, month, year, time, "UTC" | "GMT" | "+0000"] = words[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let day: u32 = day.parse().ok()?;
    let year: u32 = year.parse().ok()?;
    format!("{year:04}-{month:02}-{day:02}T{time}Z")
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_release_file() {
        let release = Release::parse(
            "-----BEGIN PGP SIGNED MESSAGE-----\n\
             Hash: SHA256\n\
             \n\
             Origin: Debian\n\
             Suite: oldstable\n\
             Date: Sat, 11 Jul 2026 10:16:37 UTC\n\
             Architectures: all amd64 arm64\n\
             MD5Sum:\n\
             Origin: not this one\n",
        );
        assert_eq!(release.origin.as_deref(), Some("Debian"));
        let date = release.date.map(|date| date.to_string());
        assert_eq!(date.as_deref(), Some("2026-07-11T10:16:37Z"));
        assert!(release.has_port("arm64") && !release.has_port("riscv64"));
        assert!(Release::parse("").has_port("riscv64"));
    }

    #[test]
    fn dates_that_are_none() {
        for text in [
            "",
            "yesterday",
            "Sat, 32 Jul 2026 10:16:37 UTC",
            "Sat, 1 Jul 2026 10:16:37 CEST",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        let single_digit = parse_date("Wed, 1 Jul 2026 10:16:37 UTC").map(|date| date.to_string());
        assert_eq!(single_digit.as_deref(), Some("2026-07-01T10:16:37Z"));
    }
}
