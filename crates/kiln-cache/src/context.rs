//! What a transfer needs besides the cache's own settings.

use kiln_base::Timestamp;
use kiln_oci::Reference;
use kiln_registry::{Client, ClientConfig};

/// What transfers need besides a cache's own settings.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The build's registry client, with its credentials.
    pub registry: &'a Client,
    /// What that client was made from; other services are asked with its proxy, its patience and
    /// its name, and a client for `registry.insecure` is made from it.
    pub config: &'a ClientConfig,
    /// The time, for signatures.
    pub clock: fn() -> Timestamp,
}

/// The build's client, or one of a cache's own.
#[derive(Debug)]
pub(crate) enum Registry<'a> {
    Shared(&'a Client),
    Own(Box<Client>),
}

impl Registry<'_> {
    pub(crate) fn client(&self) -> &Client {
        match self {
            Self::Shared(client) => client,
            Self::Own(client) => client,
        }
    }
}

impl<'a> Context<'a> {
    /// The client for a cache, which may be one that any certificate, or none, is enough for.
    pub(crate) fn registry(&self, reference: &Reference, insecure: bool) -> Registry<'a> {
        if !insecure {
            return Registry::Shared(self.registry);
        }
        let mut config = self.config.clone();
        let host = config
            .hosts
            .entry(reference.registry().to_owned())
            .or_default();
        host.plain_http = true;
        host.skip_verify = true;
        Registry::Own(Box::new(Client::new(config)))
    }
}
