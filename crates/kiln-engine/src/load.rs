//! Archives into the store (`kiln load`), and images into a running Docker or Podman (`--load`).

use std::io::{self, Read};
use std::path::Path;

use kiln_base::CancelToken;
use kiln_image::{NamedImage, read_archive};
use kiln_oci::Reference;
use serde_json::Value;

use crate::Engine;
use crate::blobs::{StoreBlobs, Watched};
use crate::error::{LoadError, OutputError, chain_text};
use crate::output::write_named;
use crate::request::ArchiveKind;

/// The largest answer of a container engine that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// An image that was in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its names; there may be none.
    pub names: Vec<Reference>,
    /// The manifest or index.
    pub target: kiln_oci::Descriptor,
}

impl Engine {
    /// Takes all images of an archive into the store, with the names they have there.
    pub fn load(&self, archive: impl Read + Send) -> Result<Vec<Loaded>, LoadError> {
        let archive = read_archive(archive, &mut StoreBlobs(&self.store))?;
        let now = self.now();
        let mut loaded = Vec::new();
        for image in archive.images {
            for name in &image.names {
                self.store.tag(name, &image.descriptor, now)?;
            }
            if image.names.is_empty() {
                self.store.keep_unnamed(&image.descriptor, now)?;
            }
            loaded.push(Loaded {
                names: image.names,
                target: image.descriptor,
            });
        }
        self.store.sync()?;
        Ok(loaded)
    }

    /// Hands an image to the container engine whose API is at `socket`.
    pub(crate) fn load_into(
        &self,
        socket: &Path,
        image: &NamedImage,
        cancel: &CancelToken,
    ) -> Result<(), OutputError> {
        let refused = |reason: String| OutputError::Load {
            socket: socket.to_owned(),
            reason,
        };
        let broken = |error: reqwest::Error| refused(chain_text(&error));
        let client = reqwest::blocking::Client::builder()
            .unix_socket(socket)
            .timeout(None)
            .build()
            .map_err(broken)?;
        let (reader, writer) = io::pipe().map_err(|error| refused(error.to_string()))?;
        std::thread::scope(|scope| {
            let written = scope.spawn(move || {
                let mut sink = io::BufWriter::with_capacity(256 * 1024, writer);
                let source = Watched {
                    source: &StoreBlobs(&self.store),
                    cancel,
                };
                let images = std::slice::from_ref(image);
                write_named(ArchiveKind::Docker, &source, images, &mut sink)
            });
            let answer = client
                .post("http://localhost/images/load?quiet=1")
                .header("Content-Type", "application/x-tar")
                .body(reqwest::blocking::Body::new(reader))
                .send();
            let answer = answer.map_err(broken).and_then(|answer| {
                let status = answer.status();
                let mut text = String::new();
                let read = answer.take(MAX_ANSWER).read_to_string(&mut text);
                read.map_err(|error| refused(error.to_string()))?;
                match failure(&text) {
                    Some(reason) => Err(refused(reason)),
                    None if status.is_success() => Ok(()),
                    None => Err(refused(format!("it answered {status}"))),
                }
            });
            let written = match written.join() {
                Ok(written) => written,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            cancel.check()?;
            // When the engine hangs up, what it said matters more than the broken pipe.
            answer.and(written)
        })
    }
}

/// The error in an answer: a JSON object, or a line of JSON objects of which one is an error.
fn failure(answer: &str) -> Option<String> {
    answer.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let text = message.get("error").or_else(|| message.get("message"))?;
        Some(text.as_str()?.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_among_the_messages() {
        assert_eq!(failure("{\"stream\":\"Loaded image: x\\n\"}\n"), None);
        assert_eq!(
            failure("{\"stream\":\"a\"}\n{\"errorDetail\":{},\"error\":\"no space\\n\"}\n"),
            Some("no space".to_owned())
        );
        assert_eq!(
            failure("{\"message\":\"bad tar\"}"),
            Some("bad tar".to_owned())
        );
    }
}
