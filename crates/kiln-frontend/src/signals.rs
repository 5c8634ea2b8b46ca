//! The signals of `STOPSIGNAL`.

const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Whether Docker knows the signal: a number other than 0, or a name with or without `SIG`.
pub(crate) fn is_known(text: &str) -> bool {
    if let Ok(number) = text.parse::<i32>() {
        return number > 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: Option<&str>, limit: u8| {
        text.and_then(|digits| digits.parse::<u8>().ok())
            .is_some_and(|offset| (1..=limit).contains(&offset))
    };
    NAMES.contains(&name)
        || offset(name.strip_prefix("RTMIN+"), 15)
        || offset(name.strip_prefix("RTMAX-"), 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for known in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14"] {
            assert!(is_known(known), "{known}");
        }
        for unknown in ["", "0", "SIGNOPE", "RTMIN+16", "-1"] {
            assert!(!is_known(unknown), "{unknown}");
        }
    }
}
