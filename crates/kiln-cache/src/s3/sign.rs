//! Signatures of requests: AWS Signature Version 4, in the `Authorization` header.

use hmac::{Hmac, KeyInit as _, Mac as _};
use kiln_base::Timestamp;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use crate::options::S3Credentials;
use crate::record::hex;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs, where and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer<'a> {
    pub(super) region: &'a str,
    pub(super) credentials: &'a S3Credentials,
    pub(super) now: Timestamp,
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// All but letters, digits and `-._~` as `%XX`; slashes stay where `keep_slashes` says so.
pub(super) fn encode(text: &str, keep_slashes: bool) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            b'/' if keep_slashes => encoded.push('/'),
            // Writing into a string can't fail.
            byte => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    })
}

impl Signer<'_> {
    /// The headers of a request with these headers and this digest of its body: those given, and
    /// those that the signature needs. The address is already encoded, its query sorted by name.
    pub(super) fn sign(
        &self,
        method: &str,
        url: &Url,
        headers: &[(&str, String)],
        payload: &str,
    ) -> Vec<(String, String)> {
        let time = Timestamp::from_seconds(self.now.seconds()).to_string();
        let time = time.replace(['-', ':'], "");
        let date = &time[..8.min(time.len())];
        let mut signed: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        signed.push(("host".to_owned(), host(url)));
        signed.push(("x-amz-content-sha256".to_owned(), payload.to_owned()));
        signed.push(("x-amz-date".to_owned(), time.clone()));
        if let Some(token) = &self.credentials.session_token {
            signed.push(("x-amz-security-token".to_owned(), token.expose().clone()));
        }
        signed.sort();
        let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines: Vec<String> = signed
            .iter()
            .map(|(name, value)| {
                format!(
                    "{name}:{value}
"
                )
            })
            .collect();
        let lines = lines.concat();
        let request = format!(
            "{method}\n{}\n{}\n{lines}\n{names}\n{payload}",
            url.path(),
            url.query().unwrap_or_default()
        );
        let scope = format!("{date}/{}/s3/aws4_request", self.region);
        let text = format!(
            "{ALGORITHM}\n{time}\n{scope}\n{}",
            sha256_hex(request.as_bytes())
        );
        let signature = hex(&mac(&self.key(date), text.as_bytes()));
        let id = &self.credentials.access_key_id;
        let authorization = format!(
            "{ALGORITHM} Credential={id}/{scope},SignedHeaders={names},Signature={signature}"
        );
        // The connection sets the host itself.
        signed.retain(|(name, _)| name != "host");
        signed.push(("authorization".to_owned(), authorization));
        signed
    }

    fn key(&self, date: &str) -> Vec<u8> {
        let secret = format!("AWS4{}", self.credentials.secret_access_key.expose());
        let parts = [date, self.region, "s3", "aws4_request"];
        parts
            .iter()
            .fold(secret.into_bytes(), |key, part| mac(&key, part.as_bytes()))
    }
}

/// The `Host` header: without the port where it is the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    // Every length of key is allowed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use kiln_base::Secret;

    use super::*;

    /// The examples of Amazon's documentation of the signature for S3.
    #[track_caller]
    fn check(method: &str, address: &str, headers: &[(&str, &str)], body: &[u8], expected: &str) {
        let credentials = S3Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
        };
        let signer = Signer {
            region: "us-east-1",
            credentials: &credentials,
            now: "2013-05-24T00:00:00Z".parse().expect("a time"),
        };
        let headers: Vec<(&str, String)> = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let url = Url::parse(&format!("https://examplebucket.s3.amazonaws.com{address}"));
        let all = signer.sign(method, &url.expect("a URL"), &headers, &sha256_hex(body));
        let (_, authorization) = all.last().expect("headers");
        let (_, signature) = authorization.split_once("Signature=").expect("a signature");
        assert_eq!(signature, expected);
    }

    #[test]
    fn signatures_are_those_of_amazons_examples() {
        check(
            "GET",
            "/test.txt",
            &[("Range", "bytes=0-9")],
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        check(
            "PUT",
            "/test%24file.text",
            &[
                ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        );
        check(
            "GET",
            "/?lifecycle=",
            &[],
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
        check(
            "GET",
            "/?max-keys=2&prefix=J",
            &[],
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    #[test]
    fn keys_are_encoded_as_signatures_need_them() {
        assert_eq!(encode("blobs/sha256:0 a~", true), "blobs/sha256%3A0%20a~");
        assert_eq!(encode("a/b=", false), "a%2Fb%3D");
    }
}
