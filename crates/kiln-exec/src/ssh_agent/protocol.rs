//! The messages of the agent protocol, as far as they pass.

use std::io::{self, Read, Write};

use super::keys::Key;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// The longest message in bytes, OpenSSH's own limit.
const LONGEST: usize = 256 << 10;

/// Reads one message without its length; `None` at the end of the stream.
pub(super) fn read_message(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => stream.read_exact(&mut length[1..])?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length == 0 || length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

/// Writes one message with its length.
pub(super) fn write_message(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes)
}

/// Whether a request may pass: the list of keys, and a signature.
pub(super) fn may_pass(request: &[u8]) -> bool {
    matches!(request.first(), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST)))
}

/// The answer to whatever may not pass.
pub(super) fn failure() -> Vec<u8> {
    vec![FAILURE]
}

/// The answer of an agent that has `keys`.
pub(super) fn answer(keys: &[Key], request: &[u8]) -> Vec<u8> {
    match request.split_first() {
        Some((&REQUEST_IDENTITIES, [])) => list(keys),
        Some((&SIGN_REQUEST, rest)) => sign(keys, rest).unwrap_or_else(failure),
        _ => failure(),
    }
}

fn list(keys: &[Key]) -> Vec<u8> {
    let mut message = vec![IDENTITIES_ANSWER];
    // There are as many as fit on a command line.
    message.extend(u32::try_from(keys.len()).unwrap_or(u32::MAX).to_be_bytes());
    for key in keys {
        put_string(&mut message, key.public());
        put_string(&mut message, key.comment().as_bytes());
    }
    message
}

fn sign(keys: &[Key], request: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Fields(request);
    let (public, data, flags) = (fields.string()?, fields.string()?, fields.number()?);
    let key = keys.iter().find(|key| key.public() == public)?;
    let signature = key.sign(data, flags)?;
    let mut message = vec![SIGN_RESPONSE];
    put_string(&mut message, &signature);
    Some(message)
}

/// Appends a string of RFC 4251: its length in four bytes, and its bytes.
pub(super) fn put_string(message: &mut Vec<u8>, bytes: &[u8]) {
    // Strings are parts of messages, which are far shorter than 4 GiB.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    message.extend(length.to_be_bytes());
    message.extend_from_slice(bytes);
}

/// Appends a non-negative number of RFC 4251 from its big-endian bytes.
pub(super) fn put_mpint(message: &mut Vec<u8>, number: &[u8]) {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    if number.first().is_some_and(|byte| byte & 0x80 != 0) {
        put_string(message, &[&[0], number].concat());
    } else {
        put_string(message, number);
    }
}

/// Takes fields of RFC 4251 from the front; `None` where they are cut off.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_a_limit_and_an_end() {
        let read = |mut bytes: &[u8]| read_message(&mut bytes).map_err(|error| error.kind());
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[0, 0, 0, 2, 11, 7, 9]), Ok(Some(vec![11, 7])));
        assert_eq!(read(&[0, 0, 0, 2, 11]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read(&[0, 0, 0, 0]), Err(io::ErrorKind::InvalidData));
        assert_eq!(read(&[0, 5, 0, 0]), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn only_lists_and_signatures_pass() {
        let passing: Vec<u8> = (0..=255).filter(|kind| may_pass(&[*kind])).collect();
        assert_eq!(passing, [REQUEST_IDENTITIES, SIGN_REQUEST]);
        assert_eq!(answer(&[], &[17, 1, 2]), failure());
        assert_eq!(
            answer(&[], &[REQUEST_IDENTITIES]),
            [IDENTITIES_ANSWER, 0, 0, 0, 0]
        );
        assert_eq!(answer(&[], &[SIGN_REQUEST, 0, 0, 0, 9, 1]), failure());
    }

    #[test]
    fn numbers_are_written_without_a_sign() {
        let written = |number: &[u8]| {
            let mut message = Vec::new();
            put_mpint(&mut message, number);
            message
        };
        assert_eq!(written(&[0, 0]), [0, 0, 0, 0]);
        assert_eq!(written(&[0, 0x7f]), [0, 0, 0, 1, 0x7f]);
        assert_eq!(written(&[0x80]), [0, 0, 0, 2, 0, 0x80]);
    }
}
