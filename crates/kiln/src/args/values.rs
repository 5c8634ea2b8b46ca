//! The small languages of flag values: `NAME=VALUE`, `HOST:IP`, `10GB`, `24h`, `SRC:DST:ro`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

/// `NAME=VALUE`, or `NAME` alone for a value taken from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl FromStr for Assignment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("the name is empty");
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// `true` and `false` as Go's tools read them.
pub(crate) fn parse_switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected `true` or `false`"),
    }
}

/// A line for `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostEntry {
    pub(crate) host: String,
    pub(crate) address: IpAddr,
}

impl FromStr for HostEntry {
    type Err = String;

    /// `HOST:IP` or `HOST=IP`; an IPv6 address may stand in brackets, and `host-gateway` for the
    /// host's own.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, address) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .ok_or("expected `HOST:IP`")?;
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err("expected a host name before the address".to_owned());
        }
        if address == "host-gateway" {
            // The way to the host for who shares its network.
            return Ok(Self {
                host: host.to_owned(),
                address: Ipv4Addr::LOCALHOST.into(),
            });
        }
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address = bare
            .unwrap_or(address)
            .parse()
            .map_err(|_| format!("`{address}` is not an IP address"))?;
        Ok(Self {
            host: host.to_owned(),
            address,
        })
    }
}

/// A number of bytes of memory, as Docker's flags for memory take it: `512`, `64m`, `1.5g`.
///
/// Every unit counts in 1,024s, with or without `b` or `ib` behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemorySize(pub(crate) u64);

impl FromStr for MemorySize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a size, as in `512m` or `2g`";
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text[number.len()..].to_ascii_lowercase();
        let power = match unit.as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            "p" | "pb" | "pib" => 5,
            _ => return Err(WRONG),
        };
        let number = number.strip_suffix(' ').unwrap_or(number);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 9 {
            return Err(WRONG);
        }
        let scale = 1_u128 << (10 * power);
        let whole: u128 = whole.parse().map_err(|_| WRONG)?;
        let fraction = match part.parse::<u128>() {
            Ok(digits) => digits * scale / 10_u128.pow(u32::try_from(part.len()).unwrap_or(0)),
            Err(_) => 0,
        };
        let bytes = whole.checked_mul(scale).map(|bytes| bytes + fraction);
        bytes
            .and_then(|bytes| i64::try_from(bytes).ok())
            .and_then(|bytes| u64::try_from(bytes).ok())
            .map(Self)
            .ok_or(WRONG)
    }
}

/// A number of bytes: `512`, `10MB`, `2GiB`, `1.5g`.
///
/// Decimal units count in thousands, the `i` units in 1,024s, as Docker's prune flags do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a size, as in `512MB` or `2GiB`";
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit = text[digits.len()..].trim().to_ascii_lowercase();
        let power = match unit.trim_end_matches('b').trim_end_matches('i') {
            "" if !unit.contains('i') => 0,
            "k" => 1,
            "m" => 2,
            "g" => 3,
            "t" => 4,
            _ => return Err(WRONG),
        };
        let base: u64 = if unit.contains('i') { 1024 } else { 1000 };
        let scale = base.pow(power);
        if let Ok(count) = digits.parse::<u64>() {
            return count.checked_mul(scale).map(Self).ok_or(WRONG);
        }
        let (whole, part) = digits.split_once('.').ok_or(WRONG)?;
        let whole: u64 = whole.parse().map_err(|_| WRONG)?;
        let tenths: u64 = match part.as_bytes() {
            [digit @ b'0'..=b'9', ..] if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                u64::from(digit - b'0')
            }
            _ => return Err(WRONG),
        };
        whole
            .checked_mul(scale)
            .and_then(|bytes| bytes.checked_add(scale / 10 * tenths))
            .map(Self)
            .ok_or(WRONG)
    }
}

impl fmt::Display for ByteSize {
    /// Three digits and a decimal unit, as Docker prints sizes: `117MB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
        let mut unit = 0;
        let mut scale: u64 = 1;
        while unit + 1 < UNITS.len() && self.0 / scale >= 1000 {
            scale *= 1000;
            unit += 1;
        }
        let whole = self.0 / scale;
        let hundredths = (self.0 % scale) * 100 / scale;
        let text = match (unit, whole) {
            (0, _) | (_, 100..) => format!("{whole}{}", UNITS[unit]),
            (_, 10..) => format!("{whole}.{}{}", hundredths / 10, UNITS[unit]),
            _ => format!("{whole}.{hundredths:02}{}", UNITS[unit]),
        };
        f.pad(&text)
    }
}

/// A length of time: `90s`, `15m`, `24h`, `7d`, or several joined as in `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a length of time, as in `24h` or `1h30m`";
        let mut seconds: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let count: u64 = rest[..digits].parse().map_err(|_| WRONG)?;
            let mut tail = rest[digits..].chars();
            let unit = match tail.next() {
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 3600,
                Some('d') => 86400,
                _ => return Err(WRONG),
            };
            seconds = count
                .checked_mul(unit)
                .and_then(|more| seconds.checked_add(more))
                .ok_or(WRONG)?;
            rest = tail.as_str();
        }
        if text.is_empty() {
            return Err(WRONG);
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// `HOST_PATH:PATH[:ro|rw]` of `kiln run -v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeSpec {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

impl FromStr for VolumeSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
            return Err("expected `HOST_PATH:PATH[:ro]`".to_owned());
        };
        if !source.starts_with(['/', '.']) {
            return Err(format!(
                "`{source}` would be a named volume, which kiln doesn't have: write `./{source}`"
            ));
        }
        if !target.starts_with('/') {
            return Err(format!("`{target}` is not an absolute path"));
        }
        let mut read_only = false;
        for option in parts.flat_map(|options| options.split(',')) {
            match option {
                "ro" | "readonly" => read_only = true,
                "rw" => {}
                _ => return Err(format!("there is no volume option `{option}`")),
            }
        }
        Ok(Self {
            source: source.into(),
            target: target.into(),
            read_only,
        })
    }
}

/// The network of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkName {
    /// The host's network
    Default,
    /// The host's network
    Host,
    /// A loopback interface of its own, and nothing else
    None,
}

/// A family of media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// The Open Container Initiative's
    Oci,
    /// Docker's schema 2
    Docker,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionName {
    /// What every reader understands
    Gzip,
    /// Smaller and faster to unpack; OCI only
    Zstd,
    /// As plain tar
    #[value(alias = "none")]
    Uncompressed,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Aligned columns
    #[default]
    Table,
    /// One JSON document
    Json,
}

/// Comma-separated fields; a field in double quotes may hold commas, and `""` for a quote.
///
/// `None` if a quote does not end.
pub(crate) fn split_csv(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            ('"', true) => quoted = false,
            ('"', false) if field.is_empty() => quoted = true,
            (',', false) => fields.push(std::mem::take(&mut field)),
            _ => field.push(c),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_keep_everything_after_the_first_equals_sign() {
        let parsed: Assignment = "A=b=c".parse().unwrap();
        assert_eq!(
            (parsed.name.as_str(), parsed.value.as_deref()),
            ("A", Some("b=c"))
        );
        assert_eq!("A".parse::<Assignment>().unwrap().value, None);
        assert!("=x".parse::<Assignment>().is_err());
    }

    #[test]
    fn hosts_take_both_separators_and_ipv6() {
        let parse = |text: &str| {
            text.parse::<HostEntry>()
                .map(|entry| entry.address.to_string())
        };
        assert_eq!(parse("h:10.0.0.1"), Ok("10.0.0.1".to_owned()));
        assert_eq!(parse("h=::1"), Ok("::1".to_owned()));
        assert_eq!(parse("h:[::1]"), Ok("::1".to_owned()));
        assert_eq!(parse("h:::1"), Ok("::1".to_owned()));
        assert_eq!(parse("h:x"), Err("`x` is not an IP address".to_owned()));
        assert!(parse("h").is_err());
    }

    #[test]
    fn memory_counts_in_powers_of_two() {
        let parse = |text: &str| text.parse::<MemorySize>().map(|size| size.0).ok();
        assert_eq!(parse("512"), Some(512));
        assert_eq!(parse("64m"), Some(64 << 20));
        assert_eq!(parse("2 GiB"), Some(2 << 30));
        assert_eq!(parse("1.5g"), Some(3 << 29));
        assert_eq!(parse("0"), Some(0));
        for wrong in ["", "m", "-1", "1q", "1.x", "5bm", "9999999999999p"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_gateway_is_the_host_itself() {
        let entry: HostEntry = "h:host-gateway".parse().unwrap();
        assert_eq!(entry.address.to_string(), "127.0.0.1");
    }

    #[test]
    fn sizes() {
        let parse = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
        assert_eq!(parse("512"), Some(512));
        assert_eq!(parse("10MB"), Some(10_000_000));
        assert_eq!(parse("2GiB"), Some(2 << 30));
        assert_eq!(parse("1.5g"), Some(1_500_000_000));
        assert_eq!(parse("1 kb"), Some(1000));
        assert_eq!(parse("x"), None);
        assert_eq!(parse("5q"), None);
        assert_eq!(parse("99999999999999T"), None);
    }

    #[test]
    fn sizes_print_as_docker_prints_them() {
        let print = |bytes| ByteSize(bytes).to_string();
        assert_eq!(print(0), "0B");
        assert_eq!(print(999), "999B");
        assert_eq!(print(1234), "1.23kB");
        assert_eq!(print(45_600_000), "45.6MB");
        assert_eq!(print(117_300_000), "117MB");
        assert_eq!(print(u64::MAX), "18446PB");
    }

    #[test]
    fn spans() {
        let parse = |text: &str| text.parse::<Span>().map(|span| span.0.as_secs()).ok();
        assert_eq!(parse("24h"), Some(86_400));
        assert_eq!(parse("1h30m"), Some(5_400));
        assert_eq!(parse("7d"), Some(604_800));
        assert_eq!(parse("5"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn volumes_are_paths() {
        let parsed: VolumeSpec = "./a:/b:ro".parse().unwrap();
        assert!(parsed.read_only);
        assert!("a:/b".parse::<VolumeSpec>().is_err());
        assert!("/a:b".parse::<VolumeSpec>().is_err());
        assert!("/a".parse::<VolumeSpec>().is_err());
        assert!("/a:/b:zz".parse::<VolumeSpec>().is_err());
    }
}
