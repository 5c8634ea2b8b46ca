//! The registry client, made from the configuration and from credentials where docker, podman and
//! Kubernetes keep them.

use kiln_registry::{
    ClientCertificate, ClientConfig, CredentialSource, HostConfig, Proxy, RetryPolicy,
};

use super::env::Environment;
use super::file::RegistryEntry;
use super::locate::credential_files;
use super::resolve::Settings;

/// How registries are reached. `jitter_seed` differs from process to process.
pub(crate) fn client_config(
    settings: &Settings,
    environment: &Environment,
    jitter_seed: u64,
) -> ClientConfig {
    let hosts = settings.registries.iter();
    ClientConfig {
        hosts: hosts
            .map(|(host, entry)| (host.clone(), host_config(entry)))
            .collect(),
        credentials: CredentialSource {
            given: Vec::new(),
            files: credential_files(environment),
            helper_environment: environment.all(),
        },
        proxy: Proxy::System,
        retry: RetryPolicy::standard(jitter_seed),
        user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

fn host_config(entry: &RegistryEntry) -> HostConfig {
    let client_certificate = entry
        .client_cert
        .as_ref()
        .map(|certificate| ClientCertificate {
            certificate: certificate.clone(),
            key: entry.client_key.as_ref().unwrap_or(certificate).clone(),
        });
    HostConfig {
        mirrors: entry.mirrors.clone(),
        plain_http: entry.plain_http,
        skip_verify: entry.insecure,
        ca_files: entry.ca.clone(),
        client_certificate,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_key_may_be_in_the_certificate_s_file() {
        let entry = RegistryEntry {
            client_cert: Some("/client.pem".into()),
            ..RegistryEntry::default()
        };
        let certificate = host_config(&entry).client_certificate.unwrap();
        assert_eq!(certificate.key, Path::new("/client.pem"));
    }
}
