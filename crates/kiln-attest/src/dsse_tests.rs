//! Signatures that hold, and everything that must not be taken for one.

use super::*;
use crate::{Predicate, Subject};

const ED25519_KEY: &str = include_str!("dsse_testdata/ed25519.pem");
const ED25519_PUBLIC: &str = include_str!("dsse_testdata/ed25519.pub.pem");
const P256_KEY: &str = include_str!("dsse_testdata/p256.pem");
const P256_PUBLIC: &str = include_str!("dsse_testdata/p256.pub.pem");
const EC_KEY: &str = include_str!("dsse_testdata/ec.pem");
const ENCRYPTED: &str = include_str!("dsse_testdata/encrypted.pem");
const RSA: &str = include_str!("dsse_testdata/rsa.pem");

fn private(text: &str) -> Result<SigningKey, KeyError> {
    SigningKey::from_pem(&Secret::new(text.as_bytes().to_vec()))
}

fn statement(name: &str) -> Statement {
    let subject = Subject {
        name: name.to_owned(),
        digest: Digest::sha256(name.as_bytes()),
    };
    Statement::new(vec![subject], Predicate::new("urn:x", "{}").unwrap())
}

#[track_caller]
fn check(key: &str, public: &VerifyingKey) {
    let key = private(key).unwrap();
    assert_eq!(key.public(), *public);
    let made = key.sign(&statement("a")).unwrap();
    let read = Envelope::from_bytes(&made.to_bytes()).unwrap();
    assert_eq!(read, made);
    assert_eq!(read.verified(public).unwrap(), statement("a").to_bytes());
    let other = Envelope {
        payload: statement("b").to_bytes(),
        ..made.clone()
    };
    assert_eq!(other.verified(public), Err(EnvelopeError::Signature));
    let other = Envelope {
        payload_type: "text/plain".to_owned(),
        ..made.clone()
    };
    let kind = EnvelopeError::Kind("text/plain".to_owned());
    assert_eq!(other.verified(public), Err(kind));
    let other = Envelope {
        signatures: Vec::new(),
        ..made.clone()
    };
    assert_eq!(other.verified(public), Err(EnvelopeError::Signature));
    for at in 0..made.signatures[0].signature.len() {
        let mut damaged = made.clone();
        damaged.signatures[0].signature[at] ^= 1;
        assert_eq!(damaged.verified(public), Err(EnvelopeError::Signature));
    }
}

#[test]
fn ed25519() {
    check(
        ED25519_KEY,
        &VerifyingKey::from_pem(ED25519_PUBLIC.as_bytes()).unwrap(),
    );
}

#[test]
fn p256() {
    check(
        P256_KEY,
        &VerifyingKey::from_pem(P256_PUBLIC.as_bytes()).unwrap(),
    );
    let ec = private(EC_KEY).unwrap();
    check(EC_KEY, &ec.public());
}

#[test]
fn another_key_proves_nothing() {
    let made = private(ED25519_KEY).unwrap().sign(&statement("a")).unwrap();
    let other = VerifyingKey::from_pem(P256_PUBLIC.as_bytes()).unwrap();
    assert_eq!(made.verified(&other), Err(EnvelopeError::Signature));
}

#[test]
fn what_is_no_key_says_so() {
    let check = |text: &str, expected| assert_eq!(private(text).unwrap_err(), expected);
    check("", KeyError::Unknown);
    check("-----BEGIN PRIVATE KEY-----\nMC4C", KeyError::Damaged);
    check(
        "-----BEGIN PRIVATE KEY-----\n*\n-----END PRIVATE KEY-----",
        KeyError::Damaged,
    );
    check(
        "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----",
        KeyError::Unknown,
    );
    check(ENCRYPTED, KeyError::Encrypted);
    check(RSA, KeyError::Unknown);
    check(ED25519_PUBLIC, KeyError::Public);
    let public = |text: &str| VerifyingKey::from_pem(text.as_bytes()).unwrap_err();
    assert_eq!(public(ED25519_KEY), KeyError::Private);
    assert_eq!(public(EC_KEY), KeyError::Private);
    assert_eq!(public("x"), KeyError::Unknown);
}

#[test]
fn a_key_is_not_shown() {
    let key = private(ED25519_KEY).unwrap();
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("SigningKey({:?})", key.public().id()));
}

#[test]
fn what_is_no_envelope_says_so() {
    for text in [
        "",
        "{}",
        "[]",
        r#"{"payloadType":"x","payload":"*","signatures":[]}"#,
    ] {
        assert_eq!(
            Envelope::from_bytes(text.as_bytes()),
            Err(EnvelopeError::Form)
        );
    }
}
