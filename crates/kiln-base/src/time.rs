//! A point in time as a value.

use std::fmt;
use std::str::FromStr;

/// A point in time: seconds and nanoseconds since the Unix epoch, UTC.
///
/// `Display` and `FromStr` use RFC 3339 with a `Z` suffix, as the OCI image specification does for
/// `created`. Equal instants print equally, so that a timestamp is safe inside hashed documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

/// A text that is not an RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time")]
pub struct ParseTimestampError(String);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self {
        seconds: 0,
        nanoseconds: 0,
    };

    /// From seconds since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }

    /// From seconds and nanoseconds since the epoch; nanoseconds above 999,999,999 are cut to that.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Self {
        let nanoseconds = if nanoseconds > 999_999_999 {
            999_999_999
        } else {
            nanoseconds
        };
        Self {
            seconds,
            nanoseconds,
        }
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second, 0 to 999,999,999.
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// This time, or `latest` where this is later: what `SOURCE_DATE_EPOCH` asks for.
    #[must_use]
    pub fn clamp_to(self, latest: Option<Self>) -> Self {
        latest.map_or(self, |latest| self.min(latest))
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Self::new(
                i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                after.subsec_nanos(),
            ),
            Err(before) => {
                let before = before.duration();
                let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Self::new(-seconds, 0),
                    nanoseconds => Self::new(-seconds - 1, 1_000_000_000 - nanoseconds),
                }
            }
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = i32::try_from(self.nanoseconds).unwrap_or(0);
        match jiff::Timestamp::new(self.seconds, nanoseconds) {
            Ok(time) => time.fmt(f),
            // Outside the years -9999 to 9999 there is no RFC 3339 form.
            Err(_) => write!(f, "@{}", self.seconds),
        }
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|_| ParseTimestampError(text.to_owned()))?;
        let mut seconds = time.as_second();
        let mut nanoseconds = time.subsec_nanosecond();
        if nanoseconds < 0 {
            seconds -= 1;
            nanoseconds += 1_000_000_000;
        }
        Ok(Self::new(seconds, u32::try_from(nanoseconds).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: i64, nanoseconds: u32, text: &str) {
        let time = Timestamp::new(seconds, nanoseconds);
        assert_eq!(time.to_string(), text);
        assert_eq!(text.parse(), Ok(time));
    }

    #[test]
    fn prints_and_parses_rfc_3339() {
        check(0, 0, "1970-01-01T00:00:00Z");
        check(1_700_000_000, 0, "2023-11-14T22:13:20Z");
        check(1_700_000_000, 120_000_000, "2023-11-14T22:13:20.12Z");
        check(-1, 500_000_000, "1969-12-31T23:59:59.5Z");
    }

    #[test]
    fn other_offsets_become_utc() {
        assert_eq!(
            "2023-11-14T23:13:20+01:00".parse(),
            Ok(Timestamp::from_seconds(1_700_000_000))
        );
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn clamps_only_later_times() {
        let limit = Some(Timestamp::from_seconds(10));
        assert_eq!(
            Timestamp::from_seconds(11).clamp_to(limit),
            Timestamp::from_seconds(10)
        );
        assert_eq!(
            Timestamp::from_seconds(9).clamp_to(limit),
            Timestamp::from_seconds(9)
        );
        assert_eq!(
            Timestamp::from_seconds(11).clamp_to(None),
            Timestamp::from_seconds(11)
        );
    }
}
