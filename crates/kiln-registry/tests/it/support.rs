//! What the tests share.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_oci::{Compression, Descriptor, Digest, Family, MediaType, Reference};
use kiln_registry::{
    Client, ClientConfig, CredentialSource, HostConfig, Proxy, RegistryError, RetryPolicy,
};

/// A client that knows these hosts and retries at once.
pub(crate) fn client(hosts: &[(&str, HostConfig)], credentials: Option<&Path>) -> Client {
    Client::new(ClientConfig {
        hosts: hosts
            .iter()
            .map(|(host, config)| ((*host).to_owned(), config.clone()))
            .collect::<BTreeMap<_, _>>(),
        credentials: CredentialSource {
            given: Vec::new(),
            files: credentials.map(Path::to_owned).into_iter().collect(),
            helper_environment: Vec::new(),
        },
        proxy: Proxy::None,
        retry: RetryPolicy {
            attempts: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_secs(2),
            jitter_seed: 1,
        },
        user_agent: "kiln-test".to_owned(),
    })
}

/// A host that is spoken to without TLS.
pub(crate) fn plain() -> HostConfig {
    HostConfig {
        plain_http: true,
        ..HostConfig::default()
    }
}

pub(crate) fn reference(host: &str, name: &str) -> Reference {
    format!("{host}/{name}").parse().expect("a reference")
}

pub(crate) fn layer(content: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::layer(Family::Oci, Compression::Gzip), content)
}

pub(crate) fn pull(
    client: &Client,
    reference: &Reference,
    digest: &Digest,
    size: usize,
    offset: u64,
) -> Result<Vec<u8>, RegistryError> {
    let blob = Descriptor {
        digest: digest.clone(),
        size: size as u64,
        ..layer(b"")
    };
    let mut bytes = Vec::new();
    let cancel = CancelToken::new();
    client
        .pull_blob(reference, &blob, offset, &mut bytes, &cancel)
        .map(|()| bytes)
}

pub(crate) fn push(
    client: &Client,
    reference: &Reference,
    content: &[u8],
    mount_from: &[&str],
) -> Result<(), RegistryError> {
    let mount_from: Vec<String> = mount_from.iter().map(ToString::to_string).collect();
    let owned = content.to_vec();
    let open = move || -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(io::Cursor::new(owned.clone())))
    };
    client.push_blob(
        reference,
        &layer(content),
        &mount_from,
        &open,
        &CancelToken::new(),
    )
}

/// An error and its causes, one line.
pub(crate) fn shown(error: &RegistryError, host: &str) -> String {
    let failure = &error.failure;
    format!("{error}: {failure}").replace(host, "HOST")
}
