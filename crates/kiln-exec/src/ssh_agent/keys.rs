//! Private keys that sign.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
};

use super::protocol::{put_mpint, put_string};

/// The flag of a request that asks for `rsa-sha2-256`.
const RSA_SHA2_256: u32 = 2;
/// The flag of a request that asks for `rsa-sha2-512`.
const RSA_SHA2_512: u32 = 4;

/// A private key with its public one in SSH's form.
pub(super) struct Key {
    private: Private,
    public: Vec<u8>,
    comment: String,
}

pub(super) enum Private {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// The curves of RFC 5656.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(super) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    pub(super) fn algorithm(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }

    /// Bytes of a private key, which is also that of a coordinate.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn kind(self) -> String {
        format!("ecdsa-sha2-{}", self.name())
    }
}

impl Key {
    /// `None` if the public key can't be read back from the private one.
    pub(super) fn new(private: Private, comment: String) -> Option<Self> {
        let mut public = Vec::new();
        match &private {
            Private::Ed25519(pair) => {
                put_string(&mut public, b"ssh-ed25519");
                put_string(&mut public, pair.public_key().as_ref());
            }
            Private::Ecdsa(curve, pair) => {
                put_string(&mut public, curve.kind().as_bytes());
                put_string(&mut public, curve.name().as_bytes());
                put_string(&mut public, pair.public_key().as_ref());
            }
            Private::Rsa(pair) => {
                let (modulus, exponent) = super::file::rsa_numbers(pair.public_key().as_ref())?;
                put_string(&mut public, b"ssh-rsa");
                put_mpint(&mut public, exponent);
                put_mpint(&mut public, modulus);
            }
        }
        Some(Self {
            private,
            public,
            comment,
        })
    }

    /// The public key, as it is listed.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    pub(super) fn comment(&self) -> &str {
        &self.comment
    }

    /// A signature in SSH's form; `None` for one that can't be made, such as RSA with SHA-1.
    pub(super) fn sign(&self, data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let (kind, signature) = match &self.private {
            Private::Ed25519(pair) => ("ssh-ed25519".to_owned(), pair.sign(data).as_ref().to_vec()),
            Private::Ecdsa(curve, pair) => {
                let both = pair.sign(&random, data).ok()?;
                let (r, s) = both.as_ref().split_at(both.as_ref().len() / 2);
                let mut signature = Vec::new();
                put_mpint(&mut signature, r);
                put_mpint(&mut signature, s);
                (curve.kind(), signature)
            }
            Private::Rsa(pair) => {
                let (kind, encoding) = if flags & RSA_SHA2_512 != 0 {
                    ("rsa-sha2-512", &RSA_PKCS1_SHA512)
                } else if flags & RSA_SHA2_256 != 0 {
                    ("rsa-sha2-256", &RSA_PKCS1_SHA256)
                } else {
                    return None;
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, data, &mut signature).ok()?;
                (kind.to_owned(), signature)
            }
        };
        let mut blob = Vec::new();
        put_string(&mut blob, kind.as_bytes());
        put_string(&mut blob, &signature);
        Some(blob)
    }
}
