//! Signed statements: DSSE envelopes around in-toto statements.
//!
//! <https://github.com/secure-systems-lab/dsse>. Keys are Ed25519 or ECDSA on P-256, as PEM files
//! that `openssl genpkey` writes; a signature is over the payload's type and bytes together, so that
//! none can be taken for a signature of something else.
//!
//! Deliberately absent: certificates, transparency logs and keys behind a passphrase.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_base::Secret;
use kiln_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{IN_TOTO_MEDIA_TYPE, Statement};

/// A public key in DER begins with what kind it is; the key itself follows.
const ED25519_HEAD: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const P256_HEAD: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
    \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// A private key that signs. It can't be shown.
pub struct SigningKey {
    pair: Pair,
    public: Vec<u8>,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// A public key that signatures are checked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    der: Vec<u8>,
}

/// A statement with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Signed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signed {
    key: String,
    signature: Vec<u8>,
}

/// Why a text is no key. Says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It needs a passphrase.
    #[error("the key is encrypted")]
    Encrypted,
    /// It is the other half.
    #[error("it is a private key, where the public one is needed")]
    Private,
    /// It is the other half.
    #[error("it is a public key, where the private one is needed")]
    Public,
    /// Another kind of key, or something that is none.
    #[error("it is no Ed25519 or ECDSA P-256 key in a PEM file")]
    Unknown,
    /// The beginning of a key.
    #[error("it is cut off or damaged")]
    Damaged,
}

/// Why an envelope proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is no envelope.
    #[error("it is no DSSE envelope")]
    Form,
    /// What is in it is no in-toto statement.
    #[error("it signs `{0}`, no in-toto statement")]
    Kind(String),
    /// No signature in it is by the key.
    #[error("it is not signed by this key")]
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeWire {
    payload_type: String,
    payload: String,
    signatures: Vec<SignatureWire>,
}

#[derive(Serialize, Deserialize)]
struct SignatureWire {
    #[serde(default)]
    keyid: String,
    sig: String,
}

impl SigningKey {
    /// Reads a private key: PKCS #8, or `openssl ecparam`'s own form.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn from_pem(text: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        let (label, der) = pem(text.expose())?;
        let der = der.expose();
        let pair = match label.as_str() {
            "PRIVATE KEY" => ed25519(der).or_else(|| p256(der)),
            "EC PRIVATE KEY" => {
                let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
                pair.ok().map(Pair::P256)
            }
            "PUBLIC KEY" => return Err(KeyError::Public),
            _ => None,
        };
        let pair = pair.ok_or(KeyError::Unknown)?;
        let public = pair.public().map_err(|Unspecified| KeyError::Unknown)?;
        Ok(Self { pair, public })
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        let der = self.public.clone();
        VerifyingKey { der }
    }

    /// Signs a statement; `None` where the system has no random numbers.
    pub fn sign(&self, statement: &Statement) -> Option<Envelope> {
        let payload = statement.to_bytes();
        let message = message(IN_TOTO_MEDIA_TYPE, &payload);
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(&message).as_ref().to_vec(),
            Pair::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), &message).ok()?;
                signature.as_ref().to_vec()
            }
        };
        Some(Envelope {
            payload_type: IN_TOTO_MEDIA_TYPE.to_owned(),
            payload,
            signatures: vec![Signed {
                key: self.public().id(),
                signature,
            }],
        })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.public().id())
            .finish()
    }
}

impl Pair {
    fn public(&self) -> Result<Vec<u8>, Unspecified> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Ed25519(pair) => pair.public_key().as_der()?,
            Self::P256(pair) => pair.public_key().as_der()?,
        };
        Ok(der.as_ref().to_vec())
    }
}

fn ed25519(der: &[u8]) -> Option<Pair> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some(Pair::Ed25519(pair))
}

fn p256(der: &[u8]) -> Option<Pair> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).ok()?;
    Some(Pair::P256(pair))
}

impl VerifyingKey {
    /// Reads a public key, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    ///
    /// See [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = pem(text)?;
        if label.ends_with("PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        let der = der.expose().clone();
        let key = Self { der };
        match key.parts() {
            Some(_) if label == "PUBLIC KEY" => Ok(key),
            _ => Err(KeyError::Unknown),
        }
    }

    /// The digest of the key in DER, by which others name it.
    pub fn id(&self) -> String {
        Digest::sha256(&self.der).hex().to_owned()
    }

    fn parts(&self) -> Option<(&'static dyn VerificationAlgorithm, &[u8])> {
        let of = |head: &[u8], length: usize| {
            let rest = self.der.strip_prefix(head)?;
            (rest.len() == length).then_some(rest)
        };
        let ed25519 = of(ED25519_HEAD, 32).map(|key| (&ED25519 as &dyn VerificationAlgorithm, key));
        ed25519.or_else(|| Some((&ECDSA_P256_SHA256_ASN1, of(P256_HEAD, 65)?)))
    }

    fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some((algorithm, key)) = self.parts() else {
            return false;
        };
        let key = UnparsedPublicKey::new(algorithm, key);
        key.verify(message, signature).is_ok()
    }
}

impl Envelope {
    /// The envelope in JSON, with a line feed at its end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let signatures = self.signatures.iter().map(|signed| SignatureWire {
            keyid: signed.key.clone(),
            sig: STANDARD.encode(&signed.signature),
        });
        let wire = EnvelopeWire {
            payload_type: self.payload_type.clone(),
            payload: STANDARD.encode(&self.payload),
            signatures: signatures.collect(),
        };
        // Texts alone can always be written.
        let mut bytes = serde_json::to_vec(&wire).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let wire: EnvelopeWire = serde_json::from_slice(bytes).map_err(|_| EnvelopeError::Form)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| EnvelopeError::Form);
        let signatures = wire.signatures.iter().map(|signed| {
            Ok(Signed {
                key: signed.keyid.clone(),
                signature: decode(&signed.sig)?,
            })
        });
        Ok(Self {
            payload: decode(&wire.payload)?,
            payload_type: wire.payload_type,
            signatures: signatures.collect::<Result<_, EnvelopeError>>()?,
        })
    }

    /// The bytes of the statement, if one of the signatures is by this key. Which key an envelope
    /// names is no matter: nobody has signed that.
    ///
    /// # Errors
    ///
    /// See [`EnvelopeError`].
    pub fn verified(&self, key: &VerifyingKey) -> Result<&[u8], EnvelopeError> {
        if self.payload_type != IN_TOTO_MEDIA_TYPE {
            return Err(EnvelopeError::Kind(self.payload_type.clone()));
        }
        let message = message(&self.payload_type, &self.payload);
        let mut signatures = self.signatures.iter();
        if signatures.any(|signed| key.accepts(&message, &signed.signature)) {
            Ok(&self.payload)
        } else {
            Err(EnvelopeError::Signature)
        }
    }
}

/// What is signed: DSSE's pre-authentication encoding.
fn message(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

/// The first block of a PEM file: its label, and its bytes.
fn pem(text: &[u8]) -> Result<(String, Secret<Vec<u8>>), KeyError> {
    let text = str::from_utf8(text).map_err(|_| KeyError::Unknown)?;
    // `openssl ecparam -genkey` writes the curve before the key.
    let text = text
        .rsplit_once("-----END EC PARAMETERS-----")
        .map_or(text, |(_, rest)| rest);
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(KeyError::Unknown)?;
    let (label, rest) = rest.split_once("-----").ok_or(KeyError::Damaged)?;
    let (body, _) = rest.split_once("-----END ").ok_or(KeyError::Damaged)?;
    if label.starts_with("ENCRYPTED ") || body.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).map_err(|_| KeyError::Damaged)?;
    Ok((label.to_owned(), Secret::new(der)))
}

#[cfg(test)]
#[path = "dsse_tests.rs"]
mod tests;
