//! Takes the values of secrets out of what steps print, before anybody reads it.
//!
//! A value is found wherever it stands in a stream, also where it comes in two pieces: the end of
//! what was printed is held back for as long as it could be the beginning of a value. What a
//! program did to a value first (reversed it, encoded it) is not recognised.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_base::events::{StepNumber, Stream};

/// What stands in a value's place.
const MASK: &[u8] = b"***";

/// Shorter values are not looked for: they would be found in words that have nothing to do with
/// them.
const SHORTEST: usize = 4;

/// Of a value of several lines (a key), lines of this length or longer are looked for by
/// themselves, too.
const SHORTEST_LINE: usize = 16;

/// Finds secrets in the output of steps.
pub(crate) struct Redactor {
    /// What is looked for, the longest first.
    values: Vec<Vec<u8>>,
    /// Whether a byte begins any of them.
    begins: [bool; 256],
    /// What each stream is held back of; the flag tells standard error.
    held: Mutex<BTreeMap<(StepNumber, bool), Vec<u8>>>,
}

impl Redactor {
    /// Looks for these values, without the line ends around them.
    pub(crate) fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut values = Vec::new();
        for secret in secrets {
            let lines = secret.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let lines = lines.filter(|line| line.len() >= SHORTEST_LINE);
            values.extend(lines.map(<[u8]>::to_vec));
            values.push(secret.trim_ascii().to_vec());
        }
        values.retain(|value| value.len() >= SHORTEST);
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        let mut begins = [false; 256];
        for value in &values {
            begins[usize::from(value[0])] = true;
        }
        Self {
            values,
            begins,
            held: Mutex::default(),
        }
    }

    /// Looks for nothing.
    pub(crate) fn none() -> Self {
        Self::new(std::iter::empty())
    }

    /// Whether there is nothing to look for.
    pub(crate) fn is_idle(&self) -> bool {
        self.values.is_empty()
    }

    /// What may be told of a stream now that these bytes were added to it.
    pub(crate) fn take(&self, step: StepNumber, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        let key = (step, stream == Stream::Stderr);
        let mut held = self.lock();
        let mut text = held.remove(&key).unwrap_or_default();
        text.extend_from_slice(bytes);
        let (told, rest) = self.scan(&text, false);
        if rest < text.len() {
            held.insert(key, text.split_off(rest));
        }
        told
    }

    /// What was held back of a step that is over.
    pub(crate) fn finish(&self, step: StepNumber) -> Vec<(Stream, Vec<u8>)> {
        let mut held = self.lock();
        let streams = [(Stream::Stdout, false), (Stream::Stderr, true)];
        let left = streams.into_iter().filter_map(|(stream, flag)| {
            let text = held.remove(&(step, flag))?;
            Some((stream, self.scan(&text, true).0))
        });
        left.collect()
    }

    /// The text without values, and where what has to be held back begins.
    fn scan(&self, text: &[u8], is_end: bool) -> (Vec<u8>, usize) {
        let mut told = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            if self.begins[usize::from(*byte)] {
                let rest = &text[at..];
                // The longest comes first: one that may still become whole goes before a shorter
                // one that is.
                let fits = |value: &&Vec<u8>| {
                    rest.starts_with(value) || (!is_end && value.starts_with(rest))
                };
                match self.values.iter().find(fits) {
                    Some(value) if rest.len() < value.len() => return (told, at),
                    Some(value) => {
                        told.extend_from_slice(MASK);
                        at += value.len();
                        continue;
                    }
                    None => {}
                }
            }
            told.push(*byte);
            at += 1;
        }
        (told, at)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(StepNumber, bool), Vec<u8>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: StepNumber = StepNumber(1);

    /// What is told of chunks of one stream; `|` ends each call's answer.
    #[track_caller]
    fn check(secrets: &[&str], chunks: &[&str], expected: &str) {
        let redactor = Redactor::new(secrets.iter().map(|secret| secret.as_bytes()));
        let mut told = String::new();
        for chunk in chunks {
            let bytes = redactor.take(STEP, Stream::Stdout, chunk.as_bytes());
            told += &String::from_utf8(bytes).unwrap();
            told.push('|');
        }
        for (_, bytes) in redactor.finish(STEP) {
            told += &String::from_utf8(bytes).unwrap();
        }
        assert_eq!(told, expected);
    }

    #[test]
    fn values_are_masked_wherever_they_stand() {
        check(&["hunter2"], &["a hunter2 b hunter2"], "a *** b ***|");
        check(&["hunter2"], &["hunter hunter2hunter"], "hunter ***|hunter");
        check(&["hunter2\n"], &["hunter2\n"], "***\n|");
        check(&[], &["hunter2"], "hunter2|");
    }

    #[test]
    fn values_in_pieces_are_found() {
        check(&["hunter2"], &["x hun", "ter", "2 y"], "x ||*** y|");
        check(&["hunter2"], &["x hun", "gry"], "x |hungry|");
        check(&["aab-aac"], &["aab-aab-aac"], "aab-***|");
        check(&["hunter2"], &["h", "u", "n"], "|||hun");
    }

    #[test]
    fn of_two_values_the_longer_one_counts() {
        check(&["abcd", "abcdef"], &["abcd", "ef abcd."], "|*** ***.|");
        check(&["abcd", "abcdef"], &["abcd"], "|***");
        check(&["abcd", "cdef"], &["abcdef"], "***ef|");
    }

    #[test]
    fn short_values_are_left() {
        check(&["abc", ""], &["abc"], "abc|");
    }

    #[test]
    fn lines_of_a_key_are_found_by_themselves() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhk\nshort\n-----END KEY-----\n";
        check(&[key], &["MIIEvQIBADANBgkqhk\nshort\n"], "***\nshort\n|");
        check(&[key], &[key], "***\n|");
    }

    #[test]
    fn streams_are_looked_at_one_by_one() {
        let redactor = Redactor::new([&b"hunter2"[..]].into_iter());
        assert_eq!(redactor.take(STEP, Stream::Stdout, b"hun"), b"");
        assert_eq!(redactor.take(STEP, Stream::Stderr, b"ter2"), b"ter2");
        assert_eq!(
            redactor.take(StepNumber(2), Stream::Stdout, b"ter2"),
            b"ter2"
        );
        assert_eq!(redactor.take(STEP, Stream::Stdout, b"ter2"), b"***");
    }
}
