//! Which certificate authorities RUN steps trust besides the image's own, read from the host.

use std::path::{Path, PathBuf};

use kiln_engine::Trust;

use super::TrustChoice;
use super::env::{Environment, SSL_CERT_FILE};

/// Where administrators put additional authorities: Debian and Alpine, Fedora, Arch, openSUSE.
const ANCHORS: [&str; 5] = [
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
    "/etc/ca-certificates/trust-source/anchors",
    "/etc/pki/trust/anchors",
    "/usr/share/pki/trust/anchors",
];

/// A folder of folders is followed this deep.
const DEPTH: usize = 3;
/// A bundle is not larger than this.
const MOST_BYTES: u64 = 4 << 20;

/// Why authorities can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("could not read the certificate authorities")]
    Read(#[from] kiln_sys::fs::FsError),
    #[error("`{}` holds no PEM certificate", .0.display())]
    NoCertificate(PathBuf),
}

/// Reads what the settings chose.
pub(crate) fn read(choice: &TrustChoice, environment: &Environment) -> Result<Trust, TrustError> {
    match choice {
        TrustChoice::None => Ok(Trust::ImageOnly),
        TrustChoice::File(path) => {
            let pem = kiln_sys::files::read_limited(path, MOST_BYTES)?;
            if has_certificate(&pem) {
                Ok(Trust::Extra(pem))
            } else {
                Err(TrustError::NoCertificate(path.clone()))
            }
        }
        TrustChoice::Host => {
            let folders: Vec<&Path> = ANCHORS.iter().map(Path::new).collect();
            let named = environment.get(&SSL_CERT_FILE).map(Path::new);
            match host_authorities(&folders, named)? {
                pem if pem.is_empty() => Ok(Trust::ImageOnly),
                pem => Ok(Trust::Extra(pem)),
            }
        }
    }
}

/// The certificates in the folders, in the order of their paths; the named file where there are
/// none.
fn host_authorities(folders: &[&Path], named: Option<&Path>) -> Result<Vec<u8>, TrustError> {
    let mut files = Vec::new();
    for folder in folders {
        collect(folder, DEPTH, &mut files);
    }
    files.sort();
    let mut bundle = Vec::new();
    for file in files {
        append(&file, &mut bundle)?;
    }
    if bundle.is_empty()
        && let Some(named) = named
    {
        append(named, &mut bundle)?;
    }
    Ok(bundle)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    // A folder that is missing or unreadable adds nothing.
    for name in kiln_sys::files::names(folder).unwrap_or_default() {
        let path = folder.join(name);
        let is_certificate = path
            .extension()
            .is_some_and(|extension| extension == "crt" || extension == "pem");
        if path.is_dir() && depth > 0 {
            collect(&path, depth - 1, files);
        } else if is_certificate {
            files.push(path);
        }
    }
}

fn append(file: &Path, bundle: &mut Vec<u8>) -> Result<(), TrustError> {
    let pem = kiln_sys::files::read_limited(file, MOST_BYTES)?;
    if has_certificate(&pem) {
        bundle.extend_from_slice(&pem);
        if !pem.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    Ok(())
}

fn has_certificate(pem: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    pem.windows(BEGIN.len()).any(|window| window == BEGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----";

    #[test]
    fn certificates_are_joined_in_the_order_of_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("b/2.crt"), PEM.replace("AA", "BB")).unwrap();
        std::fs::write(folder.path().join("a.crt"), PEM).unwrap();
        std::fs::write(folder.path().join("key.pem"), "-----BEGIN PRIVATE KEY-----").unwrap();
        std::fs::write(folder.path().join("readme"), PEM).unwrap();
        let bundle = host_authorities(&[folder.path()], None).unwrap();
        let expected = format!("{PEM}\n{}\n", PEM.replace("AA", "BB"));
        assert_eq!(String::from_utf8(bundle).unwrap(), expected);
    }

    #[test]
    fn a_named_bundle_stands_in_for_missing_folders() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), PEM).unwrap();
        let missing = Path::new("/nonexistent");
        let bundle = host_authorities(&[missing], Some(file.path())).unwrap();
        assert_eq!(bundle, format!("{PEM}\n").as_bytes());
        assert_eq!(host_authorities(&[missing], None).unwrap(), b"");
    }
}
