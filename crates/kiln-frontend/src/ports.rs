//! The port specifications of `EXPOSE`: `[ip:][host:]container[-container][/protocol]`.

use std::net::IpAddr;

/// The ports that a specification names, as `port/protocol`; only the container's side counts.
pub(crate) fn parse(spec: &str) -> Result<Vec<String>, String> {
    let (address, host, rest) = split(spec);
    let (ports, protocol) = match rest.split_once('/') {
        Some((_, "")) | None => (rest.trim_end_matches('/'), "tcp".to_owned()),
        Some((ports, protocol)) => (ports, protocol.to_ascii_lowercase()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!(
            "invalid port `{spec}`: unknown protocol `{protocol}`"
        ));
    }
    let bracketed = |address: &str| Some(address.strip_prefix('[')?.strip_suffix(']')?.to_owned());
    let bare = bracketed(address).unwrap_or_else(|| address.to_owned());
    if !address.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!(
            "invalid port `{spec}`: `{address}` is not an IP address"
        ));
    }
    let (first, last) = range(ports).ok_or_else(|| format!("invalid port `{spec}`"))?;
    if !host.is_empty() {
        let (from, to) = range(host).ok_or_else(|| format!("invalid host port in `{spec}`"))?;
        if last - first != to - from && first != last {
            return Err(format!("the port ranges in `{spec}` differ in length"));
        }
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// Address, host port and the rest.
fn split(spec: &str) -> (&str, &str, &str) {
    let Some((front, container)) = spec.rsplit_once(':') else {
        return ("", "", spec);
    };
    match front.rsplit_once(':') {
        Some((address, host)) => (address, host, container),
        None => ("", front, container),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            text.parse::<u16>().ok()
        } else {
            None
        }
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: &str, expected: &str) {
        let got = parse(spec).map_or_else(|error| format!("! {error}"), |ports| ports.join(" "));
        assert_eq!(got, expected);
    }

    #[test]
    fn specifications() {
        check("80", "80/tcp");
        check("80/", "80/tcp");
        check("53/UDP", "53/udp");
        check("8000-8002/sctp", "8000/sctp 8001/sctp 8002/sctp");
        check("8080:80", "80/tcp");
        check("127.0.0.1:8080:80/udp", "80/udp");
        check("[::1]:8080:80", "80/tcp");
        check(
            "[::1:8080:80",
            "! invalid port `[::1:8080:80`: `[::1` is not an IP address",
        );
        check("1000-1002:80", "80/tcp");
        check(
            "1000-1002:80-81",
            "! the port ranges in `1000-1002:80-81` differ in length",
        );
        check("http", "! invalid port `http`");
        check("65536", "! invalid port `65536`");
        check("9-8", "! invalid port `9-8`");
        check(
            "80/icmp",
            "! invalid port `80/icmp`: unknown protocol `icmp`",
        );
        check("", "! invalid port ``");
        check("x:1:2", "! invalid port `x:1:2`: `x` is not an IP address");
    }
}
