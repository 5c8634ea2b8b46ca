//! Times in headers (RFC 9110, 5.6.7).

use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use kiln_base::Timestamp;

/// The obsolete formats of RFC 850 and of C's `asctime`.
const OBSOLETE: [&str; 2] = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// A time as headers have it (`Last-Modified`), in any of the three formats of RFC 9110.
pub fn parse(text: &str) -> Option<Timestamp> {
    let time = match rfc2822::DateTimeParser::new().parse_timestamp(text) {
        Ok(time) => time,
        Err(_) => OBSOLETE.into_iter().find_map(|format| {
            let time = DateTime::strptime(format, text).ok()?;
            Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
        })?,
    };
    Some(Timestamp::from_seconds(time.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_formats() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let expected = Timestamp::from_seconds(784_111_777);
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        assert_eq!(parse("yesterday"), None);
    }
}
