//! Private key files: OpenSSH's own form, and the PEM forms of OpenSSL.

use std::path::Path;

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SshAgentError;
use super::keys::{Curve, Key, Private};
use super::protocol::Fields;

/// Key files are a few kilobytes.
const LARGEST: u64 = 1 << 20;

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Encrypted,
    Other(&'static str),
}

const CUT: Fault = Fault::Other("it is cut off or damaged");
const UNKNOWN: Fault = Fault::Other("it is no Ed25519, ECDSA or RSA key");

/// Reads a private key file.
pub(super) fn load(path: &Path) -> Result<Key, SshAgentError> {
    let text =
        kiln_sys::files::read_limited(path, LARGEST).map_err(|error| SshAgentError::Open {
            path: path.to_owned(),
            cause: std::io::Error::from(error.kind()),
        })?;
    parse(&String::from_utf8_lossy(&text), &path.display().to_string()).map_err(|fault| match fault
    {
        Fault::Encrypted => SshAgentError::Encrypted {
            path: path.to_owned(),
        },
        Fault::Other(reason) => SshAgentError::NotAKey {
            path: path.to_owned(),
            reason,
        },
    })
}

fn parse(text: &str, name: &str) -> Result<Key, Fault> {
    let begin = text
        .find("-----BEGIN ")
        .ok_or(Fault::Other("it has no `-----BEGIN` line"))?;
    let text = &text[begin + "-----BEGIN ".len()..];
    let (label, rest) = text.split_once("-----").ok_or(CUT)?;
    let (body, _) = rest.split_once("-----END ").ok_or(CUT)?;
    if label == "ENCRYPTED PRIVATE KEY" || body.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Fault::Encrypted);
    }
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(body).map_err(|_| CUT)?;
    let (private, comment) = match label {
        "OPENSSH PRIVATE KEY" => openssh(&bytes)?,
        "PRIVATE KEY" => (pkcs8(&bytes)?, String::new()),
        "RSA PRIVATE KEY" => (rsa(&bytes)?, String::new()),
        "EC PRIVATE KEY" => (ecdsa(&bytes)?, String::new()),
        _ => return Err(UNKNOWN),
    };
    // As `ssh-add` does for a key without a comment.
    let comment = if comment.is_empty() {
        name.to_owned()
    } else {
        comment
    };
    Key::new(private, comment).ok_or(UNKNOWN)
}

fn pkcs8(der: &[u8]) -> Result<Private, Fault> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(Private::Ed25519(pair));
    }
    if let Ok(pair) = RsaKeyPair::from_pkcs8(der) {
        return Ok(Private::Rsa(pair));
    }
    ecdsa_by(|curve| EcdsaKeyPair::from_pkcs8(curve.algorithm(), der).ok())
}

fn rsa(der: &[u8]) -> Result<Private, Fault> {
    let pair = RsaKeyPair::from_der(der)
        .map_err(|_| Fault::Other("it is no sound RSA key of 2048 to 8192 bits"))?;
    Ok(Private::Rsa(pair))
}

fn ecdsa(der: &[u8]) -> Result<Private, Fault> {
    ecdsa_by(|curve| EcdsaKeyPair::from_private_key_der(curve.algorithm(), der).ok())
}

fn ecdsa_by(read: impl Fn(Curve) -> Option<EcdsaKeyPair>) -> Result<Private, Fault> {
    let found = Curve::ALL
        .into_iter()
        .find_map(|curve| read(curve).map(|pair| Private::Ecdsa(curve, pair)));
    found.ok_or(UNKNOWN)
}

/// OpenSSH's `PROTOCOL.key`: a header, the public key, and a block with the private one and a comment.
fn openssh(bytes: &[u8]) -> Result<(Private, String), Fault> {
    let rest = bytes.strip_prefix(b"openssh-key-v1\0").ok_or(CUT)?;
    let mut fields = Fields(rest);
    let cipher = fields.string().ok_or(CUT)?;
    let (_derivation, _options) = (fields.string().ok_or(CUT)?, fields.string().ok_or(CUT)?);
    if cipher != b"none" {
        return Err(Fault::Encrypted);
    }
    if fields.number() != Some(1) {
        return Err(Fault::Other("it holds several keys"));
    }
    let _public = fields.string().ok_or(CUT)?;
    let mut fields = Fields(fields.string().ok_or(CUT)?);
    // Twice the same number: in an encrypted file they show that the passphrase is right.
    if fields.number().ok_or(CUT)? != fields.number().ok_or(CUT)? {
        return Err(CUT);
    }
    let private = openssh_private(&mut fields)?;
    let comment = fields.string().ok_or(CUT)?;
    Ok((private, String::from_utf8_lossy(comment).into_owned()))
}

fn openssh_private(fields: &mut Fields<'_>) -> Result<Private, Fault> {
    let kind = fields.string().ok_or(CUT)?;
    let mut next = || fields.string().ok_or(CUT);
    match kind {
        b"ssh-ed25519" => {
            let (public, both) = (next()?, next()?);
            let seed = both.get(..32).ok_or(CUT)?;
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| CUT)?;
            Ok(Private::Ed25519(pair))
        }
        b"ssh-rsa" => {
            let [modulus, exponent, private] = [next()?, next()?, next()?];
            let [inverse, first, second] = [next()?, next()?, next()?];
            rsa(&pkcs1(
                &[modulus, exponent, private, first, second],
                inverse,
            ))
        }
        _ => {
            let (name, public, private) = (next()?, next()?, next()?);
            let curve = Curve::ALL
                .into_iter()
                .find(|curve| curve.name().as_bytes() == name);
            let curve = curve.ok_or(UNKNOWN)?;
            let private = fixed(private, curve.bytes()).ok_or(CUT)?;
            let pair =
                EcdsaKeyPair::from_private_key_and_public_key(curve.algorithm(), &private, public)
                    .map_err(|_| CUT)?;
            Ok(Private::Ecdsa(curve, pair))
        }
    }
}

/// A number in exactly `length` bytes.
fn fixed(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let number = without_zeros(number);
    let missing = length.checked_sub(number.len())?;
    Some([&vec![0; missing], number].concat())
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// An `RSAPrivateKey` of RFC 8017 from the numbers `n`, `e`, `d`, `p`, `q` and the inverse of `q`.
fn pkcs1(numbers: &[&[u8]; 5], inverse: &[u8]) -> Vec<u8> {
    let [_, _, private, first, second] = numbers;
    let reduced = |prime: &[u8]| remainder(private, &minus_one(prime));
    let (first, second) = (reduced(first), reduced(second));
    let mut body = der(INTEGER, &[0]);
    for number in numbers.iter().copied().chain([&*first, &*second, inverse]) {
        let number = without_zeros(number);
        let sign: &[u8] = match number.first() {
            Some(byte) if byte & 0x80 == 0 => &[],
            _ => &[0],
        };
        body.extend(der(INTEGER, &[sign, number].concat()));
    }
    der(SEQUENCE, &body)
}

const INTEGER: u8 = 2;
const SEQUENCE: u8 = 0x30;

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = without_zeros(&length);
    let mut bytes = vec![tag];
    match length {
        [] => bytes.push(0),
        [short] if *short < 0x80 => bytes.push(*short),
        long => {
            // Eight bytes at most.
            bytes.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            bytes.extend_from_slice(long);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// An odd number less one.
fn minus_one(number: &[u8]) -> Vec<u8> {
    let mut number = number.to_vec();
    if let Some(last) = number.last_mut() {
        *last &= 0xfe;
    }
    number
}

/// `number` modulo `modulus`, big-endian; bit by bit, which takes a millisecond for a large key.
fn remainder(number: &[u8], modulus: &[u8]) -> Vec<u8> {
    let modulus = without_zeros(modulus);
    // One byte more than the modulus, for the bit that is shifted out.
    let modulus = [&[0], modulus].concat();
    let mut rest = vec![0_u8; modulus.len()];
    for bit in number
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |shift| (byte >> shift) & 1))
    {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            let out = *byte >> 7;
            *byte = (*byte << 1) | carry;
            carry = out;
        }
        if rest >= modulus {
            let mut borrow = false;
            for (byte, part) in rest.iter_mut().zip(&modulus).rev() {
                let (first, one) = byte.overflowing_sub(*part);
                let (second, other) = first.overflowing_sub(u8::from(borrow));
                *byte = second;
                borrow = one || other;
            }
        }
    }
    rest
}

/// Modulus and exponent of an `RSAPublicKey` in DER.
pub(super) fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, _) = take(der, SEQUENCE)?;
    let (modulus, rest) = take(body, INTEGER)?;
    let (exponent, _) = take(rest, INTEGER)?;
    Some((modulus, exponent))
}

/// The content of the first element, and what follows it.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    if length < 0x80 {
        return rest.split_at_checked(length.into());
    }
    let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
    let length = length
        .iter()
        .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    rest.split_at_checked(length)
}
