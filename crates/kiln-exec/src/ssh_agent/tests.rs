//! Keys made by `ssh-keygen` and `openssl` for these tests alone, and what they sign.

use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::keys::Key;
use super::protocol::{Fields, answer, put_string};
use super::*;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/ssh_agent/testkeys")
        .join(name)
}

fn load(name: &str) -> Key {
    file::load(&path(name)).unwrap()
}

/// The blob and the comment of a `.pub` file.
fn public(name: &str) -> (Vec<u8>, String) {
    let text = std::fs::read_to_string(path(name)).unwrap();
    let mut fields = text.split_whitespace().skip(1);
    let blob = STANDARD.decode(fields.next().unwrap()).unwrap();
    (blob, fields.next().unwrap().to_owned())
}

#[test]
fn public_keys_are_those_of_ssh_keygen() {
    for name in ["ed", "ec", "rs"] {
        let (blob, comment) = public(&format!("{name}.pub"));
        let key = load(name);
        assert_eq!((key.public(), key.comment()), (&*blob, &*comment), "{name}");
    }
    let (rsa, _) = public("rs.pub");
    for same in ["rs-pkcs1.pem", "rs-pkcs8.pem"] {
        assert_eq!(load(same).public(), rsa, "{same}");
    }
    for (name, kind) in [("ed.pem", "ssh-ed25519"), ("ec.pem", "ecdsa-sha2-nistp256")] {
        let key = load(name);
        assert_eq!(Fields(key.public()).string(), Some(kind.as_bytes()));
        assert!(key.comment().ends_with(name), "{}", key.comment());
    }
}

/// The kind and the bytes of a signature over `data` that the agent makes.
fn signature(name: &str, flags: u32) -> Option<(String, Vec<u8>)> {
    let keys = [load("ed"), load("ec"), load("rs")];
    let (blob, _) = public(&format!("{name}.pub"));
    let mut request = vec![13];
    put_string(&mut request, &blob);
    put_string(&mut request, b"data");
    request.extend(flags.to_be_bytes());
    let response = answer(&keys, &request);
    let signed = Fields(response.strip_prefix(&[14])?).string()?;
    let mut fields = Fields(signed);
    let kind = String::from_utf8(fields.string()?.to_vec()).ok()?;
    Some((kind, fields.string()?.to_vec()))
}

#[test]
fn signatures_are_valid() {
    let (kind, signed) = signature("ed", 0).unwrap();
    assert_eq!(kind, "ssh-ed25519");
    let (blob, _) = public("ed.pub");
    let point = &blob[blob.len() - 32..];
    UnparsedPublicKey::new(&ED25519, point)
        .verify(b"data", &signed)
        .unwrap();

    let (kind, signed) = signature("ec", 0).unwrap();
    assert_eq!(kind, "ecdsa-sha2-nistp384");
    let mut fields = Fields(&signed);
    let fixed = [(); 2].map(|()| {
        let number = fields.string().unwrap();
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        [&vec![0; 48 - number.len()], number].concat()
    });
    let (blob, _) = public("ec.pub");
    let point = &blob[blob.len() - 97..];
    let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
    key.verify(b"data", &fixed.concat()).unwrap();
}

#[test]
fn rsa_signs_with_sha_2_only() {
    let (blob, _) = public("rs.pub");
    let mut fields = Fields(&blob);
    let [_, exponent, modulus] = [(); 3].map(|()| fields.string().unwrap());
    let components = RsaPublicKeyComponents {
        n: modulus.strip_prefix(&[0]).unwrap_or(modulus),
        e: exponent,
    };
    for (flags, kind, algorithm) in [
        (2, "rsa-sha2-256", &RSA_PKCS1_2048_8192_SHA256),
        (4, "rsa-sha2-512", &RSA_PKCS1_2048_8192_SHA512),
    ] {
        let (made, signed) = signature("rs", flags).unwrap();
        assert_eq!(made, kind);
        components.verify(algorithm, b"data", &signed).unwrap();
    }
    assert_eq!(signature("rs", 0), None);
}

#[test]
fn what_is_no_key_is_refused() {
    let refused = |name: &str| SshAgent::keys(&[path(name)]).unwrap_err();
    let error = refused("enc");
    assert!(matches!(error, SshAgentError::Encrypted { .. }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("ssh-add")));
    let error = refused("ed.pub");
    assert!(
        error.to_string().ends_with("it has no `-----BEGIN` line"),
        "{error}"
    );
    assert!(matches!(refused("missing"), SshAgentError::Open { .. }));
    let error = SshAgent::socket(&path("ed.pub")).unwrap_err();
    assert!(matches!(error, SshAgentError::NotASocket { .. }), "{error}");
}

#[test]
fn debug_shows_no_key() {
    let agent = SshAgent::keys(&[path("ed")]).unwrap();
    assert_eq!(format!("{agent:?}"), "SshAgent::keys(1)");
}
