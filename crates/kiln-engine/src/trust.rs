//! Extra certificate authorities for `RUN` steps, as behind a corporate proxy.
//!
//! The step sees a file that holds the image's own authorities and the extra ones, and the
//! variables by which common programs are told of such a file. The file is mounted below `/dev`,
//! which is the step's own, so nothing of it can reach a layer; the variables are added after the
//! cache key was made and are in no configuration. A variable that the step sets itself is left
//! alone.

use std::collections::BTreeSet;

/// Where the step finds the authorities.
pub(crate) const BUNDLE_PATH: &str = "/dev/kiln/ca-certificates.crt";

/// Where images keep the authorities they trust: Debian and Alpine, Fedora, openSUSE.
pub(crate) const IMAGE_BUNDLES: [&str; 4] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];

/// The variables that curl, OpenSSL, pip, npm, cargo and git read, and who else agrees with them.
const VARIABLES: [&str; 10] = [
    "SSL_CERT_FILE",       // OpenSSL, Go, Ruby
    "CURL_CA_BUNDLE",      // curl
    "REQUESTS_CA_BUNDLE",  // Python requests
    "PIP_CERT",            // pip
    "NODE_EXTRA_CA_CERTS", // Node.js
    "NPM_CONFIG_CAFILE",   // npm, yarn
    "CARGO_HTTP_CAINFO",   // cargo
    "GIT_SSL_CAINFO",      // git
    "AWS_CA_BUNDLE",       // AWS tools
    "DENO_CERT",           // Deno
];

/// The variables to add to a step's environment `env`.
pub(crate) fn variables(env: &[(String, String)]) -> Vec<(String, String)> {
    let set: BTreeSet<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
    VARIABLES
        .into_iter()
        .filter(|name| !set.contains(name))
        .map(|name| (name.to_owned(), BUNDLE_PATH.to_owned()))
        .collect()
}

/// One bundle of the image's authorities and the extra ones, both PEM.
pub(crate) fn bundle(image: &[u8], extra: &[u8]) -> Vec<u8> {
    let mut bundle = image.to_vec();
    if !bundle.is_empty() && !bundle.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    bundle.extend_from_slice(extra);
    bundle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_the_step_is_left_alone() {
        let env = [("PIP_CERT".to_owned(), "/own.pem".to_owned())];
        let names: Vec<_> = variables(&env).into_iter().map(|(name, _)| name).collect();
        assert!(!names.contains(&"PIP_CERT".to_owned()));
        assert!(names.contains(&"SSL_CERT_FILE".to_owned()));
    }

    #[test]
    fn a_bundle_without_a_last_newline_is_not_glued_to_the_next() {
        assert_eq!(bundle(b"a", b"b\n"), b"a\nb\n");
        assert_eq!(bundle(b"", b"b\n"), b"b\n");
    }
}
