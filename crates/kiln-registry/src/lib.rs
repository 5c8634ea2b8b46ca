//! Distribution client: resolve, pull and push images over the registry HTTP API.
//!
//! A [`Client`] is a value: it is made from a [`ClientConfig`], which says how each registry is
//! reached and where credentials are, and it holds the tokens it was given. Two tenants are two
//! clients; nothing is global and the environment is not read.
//!
//! | need | function |
//! |---|---|
//! | what does a name lead to? | [`Client::resolve`], [`Client::head`] |
//! | the bytes of a blob, from an offset | [`Client::pull_blob`] |
//! | give a blob, a manifest | [`Client::push_blob`], [`Client::push_manifest`] |
//! | send a blob while it is made | [`Client::begin_upload`], [`Client::stream_upload`], [`Client::finish_upload`], [`Client::cancel_upload`] |
//! | which tags are there? | [`Client::tags`] |
//!
//! What a registry says is not trusted: documents are bounded and compared with their digest, a
//! blob's length is bounded, credentials are sent to the registry and its token service and never
//! along a redirect. Whoever takes a blob's bytes checks its digest.
//!
//! Deliberately absent: where blobs are kept (`kiln-store`), parallel transfers (`kiln-engine`),
//! signatures and referrers.

mod auth;
mod challenge;
mod client;
mod config;
mod credentials;
mod endpoint;
mod error;
mod helper;
mod http;
mod manifest;
mod pull;
mod push;
mod upload;

pub use client::Client;
pub use config::{ClientCertificate, ClientConfig, HostConfig, Proxy, RetryPolicy};
pub use credentials::{Credential, CredentialError, CredentialSource, is_same_registry};
pub use error::{Attempt, Failure, RegistryError};
pub use helper::HelperError;
pub use http::patience;
pub use manifest::Resolved;
pub use push::{MAX_MOUNTS, OpenBlob};
pub use upload::BlobUpload;
