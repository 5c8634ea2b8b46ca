//! How the outside is reached: proxies and certificate authorities.

use std::path::{Path, PathBuf};

use kiln_oci::Digest;
use kiln_sys::files;
use kiln_sys::fs::FsError;

/// The largest PEM file that is read, in bytes.
const MAX_PEM_SIZE: u64 = 4 * 1024 * 1024;

/// Where distributions keep the authorities that the machine trusts, as one PEM file.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The variables that name a proxy.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];

/// What is never asked through a proxy. Not every program reads a range.
const LOOPBACK: &str = "localhost,127.0.0.1,127.0.0.0/8,::1";

/// How the outside is reached. `Debug` shows only the names of the proxy variables, since a proxy's
/// address may hold a password.
#[derive(Clone, Default)]
pub struct Network {
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in upper or lower case, with their
    /// values; other names mean nothing. A loopback host is reached directly.
    pub proxies: Vec<(String, String)>,
    /// PEM files with authorities to trust besides the machine's.
    pub ca_files: Vec<PathBuf>,
}

impl Network {
    /// The value of a proxy variable, asked for in lower case; the lower-case name wins, as in curl.
    pub(crate) fn proxy(&self, name: &str) -> Option<&str> {
        let written = |wanted: &str| {
            let found = self.proxies.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        written(name)
            .or_else(|| written(&name.to_ascii_uppercase()))
            .filter(|value| !value.is_empty())
    }

    /// Hosts that are reached directly, separated by commas.
    pub(crate) fn excluded(&self) -> String {
        match self.proxy("no_proxy") {
            Some(excluded) => format!("{excluded},{LOOPBACK}"),
            None => LOOPBACK.to_owned(),
        }
    }

    /// The proxy variables for a program, in lower case, which every program reads.
    pub(crate) fn proxy_variables(&self) -> Vec<(&'static str, String)> {
        let mut variables: Vec<_> = PROXIES
            .into_iter()
            .filter_map(|name| Some((name, self.proxy(name)?.to_owned())))
            .collect();
        if !variables.is_empty() {
            variables.push(("no_proxy", self.excluded()));
        }
        variables
    }

    /// The additional authorities, as PEM.
    pub(crate) fn authorities(&self) -> Result<Vec<Vec<u8>>, FsError> {
        self.ca_files.iter().map(|path| read_pem(path)).collect()
    }

    /// A file in `folder` with the machine's authorities and the additional ones, for programs that
    /// take only one file; `None` where nothing is added to what the machine trusts.
    pub(crate) fn bundle(&self, folder: &Path) -> Result<Option<PathBuf>, FsError> {
        if self.ca_files.is_empty() {
            return Ok(None);
        }
        let system = SYSTEM_AUTHORITIES
            .iter()
            .map(Path::new)
            .find(|path| files::exists(path));
        let mut bundle = match system {
            Some(path) => read_pem(path)?,
            None => Vec::new(),
        };
        for pem in self.authorities()? {
            bundle.push(b'\n');
            bundle.extend(pem);
        }
        let name = Digest::sha256(&bundle);
        let path = folder.join(format!("authorities-{}.pem", name.hex()));
        if !files::exists(&path) {
            let temporary = format!("{}.new-{}", name.hex(), std::process::id());
            files::replace(&path, folder.join(temporary), &bundle)?;
        }
        Ok(Some(path))
    }
}

fn read_pem(path: &Path) -> Result<Vec<u8>, FsError> {
    files::read_limited(path, MAX_PEM_SIZE)
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let proxies: Vec<_> = self.proxies.iter().map(|(name, _)| name).collect();
        f.debug_struct("Network")
            .field("proxies", &proxies)
            .field("ca_files", &self.ca_files)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_case_proxy_wins_and_values_are_not_printed() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let network = Network {
            proxies: vec![
                pair("HTTPS_PROXY", "http://me:s3cret@upper"),
                pair("https_proxy", "http://lower"),
                pair("NO_PROXY", "a,b"),
                pair("PATH", "/tmp"),
                pair("http_proxy", ""),
            ],
            ca_files: Vec::new(),
        };
        let expected = [
            ("https_proxy", "http://lower".to_owned()),
            ("no_proxy", format!("a,b,{LOOPBACK}")),
        ];
        assert_eq!(network.proxy_variables(), expected);
        assert_eq!(Network::default().proxy_variables(), []);
        assert!(!format!("{network:?}").contains("s3cret"));
    }

    #[test]
    fn a_bundle_has_the_additional_authorities() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corporate.pem");
        files::write(&path, b"CORPORATE").unwrap();
        let mut network = Network::default();
        assert_eq!(network.bundle(folder.path()).unwrap(), None);
        network.ca_files.push(path);
        let bundle = network.bundle(folder.path()).unwrap().unwrap();
        let text = files::read_to_string(&bundle).unwrap();
        assert!(text.ends_with("\nCORPORATE"));
        assert_eq!(network.bundle(folder.path()).unwrap(), Some(bundle));
        network.ca_files.push("/nonexistent.pem".into());
        let error = network.bundle(folder.path()).unwrap_err().to_string();
        assert!(error.contains("/nonexistent.pem"), "{error}");
    }
}
