//! How registries are reached.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::CredentialSource;

/// Everything a client has to know; there are no other inputs.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// By registry as references name it (`docker.io`, `localhost:5000`), and by mirror.
    pub hosts: BTreeMap<String, HostConfig>,
    /// Where credentials are.
    pub credentials: CredentialSource,
    /// Whether requests go through a proxy.
    pub proxy: Proxy,
    /// How often and after which time a failed request is sent again.
    pub retry: RetryPolicy,
    /// The `User-Agent` header.
    pub user_agent: String,
}

/// How one registry, or one mirror, is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Asked before the registry itself when something is fetched, in this order: `host`,
    /// `host:port`, `host/path`, or one of these after `http://` or `https://`.
    pub mirrors: Vec<String>,
    /// Speak HTTP, not HTTPS. A loopback host needs no configuration: HTTPS is tried, then HTTP.
    pub plain_http: bool,
    /// Accept any certificate.
    pub skip_verify: bool,
    /// PEM files with authorities to trust besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// The certificate that kiln shows.
    pub client_certificate: Option<ClientCertificate>,
}

/// A client certificate and its key, as PEM files. They may be the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether requests go through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// As the variables `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say. The HTTP
    /// library reads them; it is the one place below the program that looks at the environment,
    /// and only where this was chosen. Loopback is always reached directly.
    System,
    /// Never.
    None,
}

/// How failed requests are sent again: after `first_wait`, then twice that, up to `longest_wait`,
/// each shortened by a random part of at most a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Requests in all, the first included.
    pub attempts: u32,
    /// Before the second request.
    pub first_wait: Duration,
    /// Never longer, also where the registry asks for more: then the error says so.
    pub longest_wait: Duration,
    /// Where the random parts come from.
    pub jitter_seed: u64,
}

impl RetryPolicy {
    /// Five requests within about eight seconds.
    pub const fn standard(jitter_seed: u64) -> Self {
        Self {
            attempts: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_mins(1),
            jitter_seed,
        }
    }

    /// The time to wait before the request that follows the `failed`th (from 1).
    pub(crate) fn wait(&self, failed: u32, random: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(20);
        let full = self
            .first_wait
            .saturating_mul(1 << doublings)
            .min(self.longest_wait);
        // 1000 thousandths down to 500.
        let part = 1000 - u32::try_from(random % 501).unwrap_or(0);
        full * part / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy = RetryPolicy {
            longest_wait: Duration::from_secs(3),
            ..RetryPolicy::standard(0)
        };
        let waits: Vec<u128> = (1..=5).map(|n| policy.wait(n, 0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 3000, 3000]);
        assert_eq!(policy.wait(1, 500).as_millis(), 250);
    }
}
