//! Which hosts stand behind a registry's name, and how they are spoken to.

use std::net::IpAddr;

use reqwest::Url;

use crate::config::HostConfig;

/// Docker Hub is served by another host than its name says.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// How a host may be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schemes {
    Https,
    Http,
    /// HTTPS is tried; where nobody speaks it, HTTP: for loopback hosts.
    Either,
}

/// A host that answers for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The name under which its configuration and its credentials are.
    pub(crate) name: String,
    /// Host and port to connect to.
    pub(crate) host: String,
    /// In front of `/v2/`'s repository: empty, or `path/`.
    pub(crate) prefix: String,
    pub(crate) schemes: Schemes,
}

impl Endpoint {
    /// The registry itself.
    pub(crate) fn registry(name: &str, config: Option<&HostConfig>) -> Self {
        let host = if name == DOCKER_HUB {
            DOCKER_HUB_HOST
        } else {
            name
        };
        Self {
            name: name.to_owned(),
            host: host.to_owned(),
            prefix: String::new(),
            schemes: schemes(host, config),
        }
    }

    /// A mirror as it is written in the configuration.
    pub(crate) fn mirror(text: &str, config_of: impl Fn(&str) -> Option<HostConfig>) -> Self {
        let (given, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Schemes::Http), rest),
            Some(("https", rest)) => (Some(Schemes::Https), rest),
            _ => (None, text),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        // Some write the API's root into the address.
        let path = path
            .strip_prefix("v2/")
            .unwrap_or(if path == "v2" { "" } else { path });
        let config = config_of(host);
        Self {
            name: host.to_owned(),
            host: host.to_owned(),
            prefix: if path.is_empty() {
                String::new()
            } else {
                format!("{path}/")
            },
            schemes: given.unwrap_or_else(|| schemes(host, config.as_ref())),
        }
    }

    /// The name that the repository has here.
    pub(crate) fn repository(&self, repository: &str) -> String {
        format!("{}{repository}", self.prefix)
    }
}

fn schemes(host: &str, config: Option<&HostConfig>) -> Schemes {
    match config {
        Some(config) if config.plain_http => Schemes::Http,
        // Whoever says which certificates to use wants them used, on loopback, too.
        Some(config) if !config.ca_files.is_empty() || config.client_certificate.is_some() => {
            Schemes::Https
        }
        _ if is_loopback(host) => Schemes::Either,
        _ => Schemes::Https,
    }
}

/// Whether `host[:port]` is this machine, by its name or address alone.
pub(crate) fn is_loopback(host: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{host}/")) else {
        return false;
    };
    let Some(name) = url.host_str() else {
        return false;
    };
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_name_and_address() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "128.0.0.1",
            "r.example:5000",
            "127.0.0.1.example",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn mirrors_may_name_scheme_and_path() {
        let mirror = |text: &str| {
            let endpoint = Endpoint::mirror(text, |_| None);
            format!(
                "{:?} {} {}",
                endpoint.schemes,
                endpoint.host,
                endpoint.repository("a/b")
            )
        };
        assert_eq!(mirror("m.example"), "Https m.example a/b");
        assert_eq!(mirror("http://m.example:80/"), "Http m.example:80 a/b");
        assert_eq!(
            mirror("m.example/proxy/hub"),
            "Https m.example proxy/hub/a/b"
        );
        assert_eq!(
            mirror("https://m.example/v2/hub"),
            "Https m.example hub/a/b"
        );
        assert_eq!(mirror("localhost:1"), "Either localhost:1 a/b");
    }

    #[test]
    fn docker_hub_is_served_elsewhere() {
        let endpoint = Endpoint::registry("docker.io", None);
        assert_eq!(endpoint.host, "registry-1.docker.io");
        assert_eq!(endpoint.name, "docker.io");
    }
}
