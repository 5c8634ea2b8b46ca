//! The two files that a step's name resolution reads.

use std::fmt::Write as _;

use crate::Network;

/// `/etc/hosts` as BuildKit writes it: the loopback names, the host name, then the extra entries
/// (`name`, `address`) of `--add-host`.
pub fn hosts_file(hostname: &str, extra: &[(String, String)]) -> String {
    let mut text =
        format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in extra {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// `/etc/resolv.conf` for a step, from the host's: the same on the host's network; without a network
/// the name servers, which can't be reached, are left out.
pub fn resolv_conf(host: &str, network: Network) -> String {
    match network {
        Network::Host => host.to_owned(),
        Network::None => host
            .lines()
            .filter(|line| !line.trim_start().starts_with("nameserver"))
            .fold(String::new(), |text, line| text + line + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lists_loopback_then_extras() {
        let extra = [("db".to_owned(), "10.0.0.2".to_owned())];
        assert_eq!(
            hosts_file("buildkitsandbox", &extra),
            "127.0.0.1\tlocalhost buildkitsandbox\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.2\tdb\n"
        );
    }

    #[test]
    fn without_a_network_there_are_no_name_servers() {
        let host = "nameserver 10.0.0.1\nsearch example.org\n";
        assert_eq!(resolv_conf(host, Network::Host), host);
        assert_eq!(resolv_conf(host, Network::None), "search example.org\n");
    }
}
