//! Digests, keys and identifiers.

use aws_lc_rs::rsa::{Pkcs1PrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use std::fmt::Write as _;

use super::{Args, Function, entry, text};
use crate::source::{Fault, Outcome};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    entry("md5", "s", |args| {
        text::text(hex(&Md5::digest(args.text(0))))
    }),
    entry("sha1", "s", |args| {
        text::text(hex(&Sha1::digest(args.text(0))))
    }),
    entry("sha256", "s", |args| {
        text::text(hex(&Sha256::digest(args.text(0))))
    }),
    entry("sha512", "s", |args| {
        text::text(hex(&Sha512::digest(args.text(0))))
    }),
    entry("bcrypt", "s*n", bcrypt),
    entry("rsadecrypt", "ss", rsa_decrypt),
    entry("uuidv4", "", |args| Ok(uuid(random(args), 4))),
    entry("uuidv5", "ss", uuid_v5),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap_or_default();
        out
    })
}

/// Sixteen bytes that differ from call to call.
fn random(args: &Args<'_>) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(args.world.clock().seed);
    hash.update(args.world.budget().serial().to_le_bytes());
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes
}

fn uuid(mut bytes: [u8; 16], version: u8) -> Value {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    Value::text(&parts.join("-"))
}

fn uuid_v5(args: &Args<'_>) -> Outcome<Value> {
    let digits = match args.text(0) {
        "dns" => "6ba7b8109dad11d180b400c04fd430c8".to_owned(),
        "url" => "6ba7b8119dad11d180b400c04fd430c8".to_owned(),
        "oid" => "6ba7b8129dad11d180b400c04fd430c8".to_owned(),
        "x500" => "6ba7b8149dad11d180b400c04fd430c8".to_owned(),
        other => other.replace('-', ""),
    };
    let Some(namespace) = u128::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 32)
    else {
        return Err(Fault::new(format!(
            "`{}` is no UUID, nor dns, url, oid or x500",
            args.text(0)
        )));
    };
    let mut hash = Sha1::new();
    hash.update(namespace.to_be_bytes());
    hash.update(args.text(1));
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Ok(uuid(bytes, 5))
}

/// Higher costs take seconds.
const MAX_COST: i64 = 12;

fn bcrypt(args: &Args<'_>) -> Outcome<Value> {
    let cost = match args.all().len() {
        1 => 10,
        2 => args.int(1)?,
        _ => return Err(Fault::new("two arguments are the most")),
    };
    let Some(cost) = u32::try_from(cost)
        .ok()
        .filter(|cost| (4..=MAX_COST).contains(&i64::from(*cost)))
    else {
        return Err(Fault::new(format!("the cost is from 4 to {MAX_COST}")));
    };
    args.charge(20_000 << cost.saturating_sub(4))?;
    match bcrypt::hash_with_salt(args.text(0), cost, random(args)) {
        Ok(parts) => text::text(parts.format_for_version(bcrypt::Version::TwoA)),
        Err(error) => Err(Fault::new(error.to_string())),
    }
}

fn rsa_decrypt(args: &Args<'_>) -> Outcome<Value> {
    args.charge(100_000)?;
    let ciphertext = STANDARD
        .decode(args.text(0))
        .map_err(|_| Fault::new("the ciphertext is no base64"))?;
    let key = private_key(args.text(1)).ok_or_else(|| {
        Fault::new("the key is no RSA key in PEM (`BEGIN RSA PRIVATE KEY`, not encrypted)")
    })?;
    let key = PrivateDecryptingKey::from_pkcs8(&key)
        .ok()
        .and_then(|key| Pkcs1PrivateDecryptingKey::new(key).ok());
    let key = key.ok_or_else(|| Fault::new("the key is no RSA key that can be used"))?;
    let mut plain = vec![0; key.min_output_size()];
    let plain = key
        .decrypt(&ciphertext, &mut plain)
        .map_err(|_| Fault::new("the key does not decrypt this"))?;
    match std::str::from_utf8(plain) {
        Ok(plain) => text::text(plain),
        Err(_) => Err(Fault::new("the decrypted bytes are no UTF-8 text")),
    }
}

/// A key in PKCS#8: PKCS#1 is wrapped.
fn private_key(pem: &str) -> Option<Vec<u8>> {
    let body = |label: &str| {
        let (_, after) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
        let (body, _) = after.split_once("-----END")?;
        STANDARD
            .decode(body.split_whitespace().collect::<String>())
            .ok()
    };
    if let Some(pkcs8) = body("PRIVATE KEY") {
        return Some(pkcs8);
    }
    let pkcs1 = body("RSA PRIVATE KEY")?;
    // Version 0, the algorithm rsaEncryption with null, and the key as an octet string.
    let mut inner = vec![
        2, 1, 0, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0,
    ];
    inner.extend(tagged(4, &pkcs1));
    Some(tagged(0x30, &inner))
}

/// A DER element.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ 0..0x80) => out.push(length),
        _ => {
            let bytes = content.len().to_be_bytes();
            let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(8));
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}
