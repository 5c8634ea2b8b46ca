//! Layers that are sent to the registry while they are packed.
//!
//! Where a build's image is pushed, a large layer's blob is followed by a [`Sender`] as soon as it
//! has grown to [`WORTH_SENDING`]: a thread that sends the growing file as one upload without a
//! name. The packer never waits for it: what the registry does not take yet stays in the file. When
//! the layer is packed its digest is known, and the push of the image, which comes when the whole
//! build has succeeded, finishes the upload by it ([`EarlyUploads::claim`]). Until then the registry
//! has no such blob.
//!
//! Nothing depends on it. An upload that fails, in whatever way, is given up, and the push sends the
//! blob from its beginning, with its own retries and errors. What nobody finished when the build
//! ends is cancelled at the registry as far as that allows it, for which the build waits [`FAREWELL`]
//! at most.
//!
//! Of the names that an image is pushed to, each registry's first gets its layers early; other
//! repositories of the same registry take them from there.
//!
//! No more of them are sent at a time than the push would send; the others are left to it. A layer that
//! is packed twice in one build, as for two platforms, is given up by the second sender once that is
//! known.
//!
//! Deliberately absent: small layers, those of a base, and those that are compressed anew.

use std::io::{self, BufReader, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_base::trace::Tracer;
use kiln_base::{CancelToken, Cancelled};
use kiln_oci::{Digest, Reference};
use kiln_registry::{BlobUpload, Client, patience};
use kiln_store::{ArrivingBlob, BlobError, BlobWriter};

use crate::transfer::TRANSFERS;

/// The size of a blob from which on it is sent while it grows, in bytes.
const WORTH_SENDING: u64 = 8 * 1024 * 1024;
/// How much of the file is read at a time, in bytes.
const PIECE: usize = 128 * 1024;
/// How often somebody who waits looks around.
const LOOK: Duration = Duration::from_millis(100);
/// How long an upload may go on before the registry is asked whether it has the blob already.
const ASK_AFTER: Duration = Duration::from_millis(300);
/// How long a build waits at its end for uploads to be cancelled.
const FAREWELL: Duration = Duration::from_secs(5);

/// A repository that layers are sent to.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) client: Arc<Client>,
    pub(crate) name: Reference,
}

impl Destination {
    /// Adds this one, unless another repository of the same registry is there: that one gets the
    /// layer early, and this one from there.
    pub(crate) fn add_to(self: &Arc<Self>, all: &mut Vec<Arc<Self>>) {
        let is_same = |known: &Arc<Self>| known.name.registry() == self.name.registry();
        if !all.iter().any(is_same) {
            all.push(Arc::clone(self));
        }
    }
}

/// The uploads of a build that began before their blobs were complete.
#[derive(Debug, Default)]
pub(crate) struct EarlyUploads(Mutex<Uploads>);

#[derive(Debug, Default)]
struct Uploads {
    senders: Vec<Arc<Sender>>,
    is_over: bool,
}

/// The upload of one blob to one repository.
#[derive(Debug)]
struct Sender {
    to: Arc<Destination>,
    /// Cancelled where the upload is to be given up.
    halt: CancelToken,
    /// Bytes of the blob that were handed to the connection.
    sent: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The blob's, once it is complete.
    digest: Option<Digest>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sending,
    /// The registry has all of it, and waits for its digest.
    Sent,
    /// The push wants the registry to be told the digest of these many bytes.
    Finishing(u64),
    /// The registry has the blob.
    Finished,
    /// It came to nothing, and nothing of it is left to do.
    Over,
}

impl EarlyUploads {
    fn lock(&self) -> MutexGuard<'_, Uploads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to send a blob that is being written to each of the destinations, unless as many are
    /// sent already as the push would send at the same time.
    fn begin(
        &self,
        blob: &mut BlobWriter,
        to: &[Arc<Destination>],
        tracer: &Tracer,
    ) -> Vec<Arc<Sender>> {
        let mut uploads = self.lock();
        if uploads.is_over {
            return Vec::new();
        }
        let is_sending = |sender: &&Arc<Sender>| sender.lock().stage == Stage::Sending;
        let sending = uploads.senders.iter().filter(is_sending).count();
        let mut begun = Vec::new();
        for to in to.iter().take(TRANSFERS.saturating_sub(sending)) {
            // Whatever hinders it, the push will say so.
            let Ok(content) = blob.follow() else { break };
            let sender = Arc::new(Sender::new(to));
            let (runs, tracer) = (Arc::clone(&sender), tracer.clone());
            let thread = move || runs.run(&content, &tracer);
            if in_background(thread).is_ok() {
                begun.push(sender);
            }
        }
        uploads.senders.extend(begun.iter().cloned());
        begun
    }

    /// The upload of a blob to a repository, if there is one that may still come to something.
    pub(crate) fn claim(&self, name: &Reference, digest: &Digest) -> Option<Claim> {
        let uploads = self.lock();
        let found = uploads
            .senders
            .iter()
            .find(|sender| sender.brings(name, digest));
        found.map(|sender| Claim(Arc::clone(sender)))
    }

    /// The blob of `sender` is complete. Where another one brings the same, as for a layer that
    /// several images have, this one is given up.
    fn name(&self, sender: &Arc<Sender>, digest: &Digest) {
        let uploads = self.lock();
        let mut others = uploads.senders.iter();
        if others.any(|other| other.brings(&sender.to.name, digest)) {
            sender.stop();
        } else {
            sender.name(digest);
        }
    }

    /// Gives up all that was not finished; no more begin.
    pub(crate) fn stop(&self) {
        let mut uploads = self.lock();
        uploads.is_over = true;
        for sender in &uploads.senders {
            sender.stop();
        }
    }

    /// What is left when the returned value is dropped is given up, and cancelled at the registry as
    /// far as that is quickly done.
    pub(crate) fn end_on_drop(&self) -> impl Drop + use<'_> {
        Ending(self)
    }
}

struct Ending<'a>(&'a EarlyUploads);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.stop();
        let senders = std::mem::take(&mut self.0.lock().senders);
        let until = Instant::now() + FAREWELL;
        for sender in senders {
            sender.wait_for_end(until);
        }
    }
}

/// Starts a thread that nobody waits for: it may hang on a connection for long.
fn in_background(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().spawn(work).map(drop)
}

impl Sender {
    fn new(to: &Arc<Destination>) -> Self {
        Self {
            to: Arc::clone(to),
            halt: CancelToken::new(),
            sent: AtomicU64::new(0),
            state: Mutex::new(State {
                digest: None,
                stage: Stage::Sending,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        self.lock().stage = stage;
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.halt.cancel();
        // Under the lock, so that nobody is between looking at the token and waiting.
        let _state = self.lock();
        self.changed.notify_all();
    }

    /// Whether the repository may still get this blob from here.
    fn brings(&self, name: &Reference, digest: &Digest) -> bool {
        let known = &self.to.name;
        let state = self.lock();
        known.registry() == name.registry()
            && known.repository() == name.repository()
            && state.digest.as_ref() == Some(digest)
            && !self.halt.is_cancelled()
            && !matches!(state.stage, Stage::Finished | Stage::Over)
    }

    /// Sends the content, and finishes the upload once the push wants that.
    fn run(self: &Arc<Self>, content: &ArrivingBlob, tracer: &Tracer) {
        tracer.name_thread("early upload");
        let client = &self.to.client;
        if let Some(upload) = self.send(content, tracer) {
            // In this thread: whoever pushes has to hear of a Ctrl-C while the registry is at it.
            let finish = |(digest, size): (Digest, u64)| {
                client.finish_upload(upload.clone(), &digest, size, &self.halt)
            };
            if matches!(self.wait_for_push().map(finish), Some(Ok(()))) {
                self.set(Stage::Finished);
                return;
            }
            // The push goes on by itself, and tells what is wrong.
            self.stop();
            // Whether it is forgotten soon or late is the registry's affair.
            let _ = client.cancel_upload(upload, &CancelToken::new());
        }
        self.set(Stage::Over);
    }

    /// Begins an upload, and sends the content as it grows; `None` where there is no upload.
    fn send(self: &Arc<Self>, content: &ArrivingBlob, tracer: &Tracer) -> Option<BlobUpload> {
        let Destination { client, name } = &*self.to;
        let mut span = tracer.span("send while packing");
        let begun = client.begin_upload(name, &self.halt);
        let mut upload = match begun {
            Ok(upload) => upload,
            Err(error) => {
                span.text("gave_up", || described(&error));
                return None;
            }
        };
        let open = || -> io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(Following {
                content: BufReader::with_capacity(PIECE, content.clone()),
                position: 0,
                sender: Arc::clone(self),
            }))
        };
        // Not by a token that somebody cancels: a request that breaks off leaves the registry busy
        // with it, one that ends early can be forgotten.
        let sent = client.stream_upload(&mut upload, &open, &CancelToken::new());
        span.number("bytes", self.sent.load(Ordering::Relaxed));
        match sent {
            Ok(()) if !self.halt.is_cancelled() => self.set(Stage::Sent),
            Ok(()) => span.text("gave_up", || "nobody wants it"),
            Err(error) => {
                span.text("gave_up", || described(&error));
                self.stop();
            }
        }
        Some(upload)
    }

    /// Waits until the push wants the upload to be finished; `None` where nobody will.
    fn wait_for_push(&self) -> Option<(Digest, u64)> {
        let mut state = self.lock();
        loop {
            match (state.stage, &state.digest) {
                (Stage::Finishing(size), Some(digest)) => return Some((digest.clone(), size)),
                (Stage::Sent, _) if !self.halt.is_cancelled() => {}
                _ => return None,
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The blob is complete. Where it takes long to send, the registry may have it already.
    fn name(self: &Arc<Self>, digest: &Digest) {
        self.lock().digest = Some(digest.clone());
        let (asks, digest) = (Arc::clone(self), digest.clone());
        let ask = move || {
            let waited = asks
                .changed
                .wait_timeout_while(asks.lock(), ASK_AFTER, |state| {
                    matches!(state.stage, Stage::Sending) && !asks.halt.is_cancelled()
                });
            let is_slow = waited.is_ok_and(|(_, waited)| waited.timed_out());
            let Destination { client, name } = &*asks.to;
            if is_slow && matches!(client.has_blob(name, &digest, &asks.halt), Ok(true)) {
                asks.stop();
            }
        };
        // Not asking costs time at most.
        let _ = in_background(ask);
    }

    fn wait_for_end(&self, until: Instant) {
        let is_at_work = |state: &mut State| !matches!(state.stage, Stage::Finished | Stage::Over);
        let left = until.saturating_duration_since(Instant::now());
        // Who is not done by then goes on by himself.
        drop(
            self.changed
                .wait_timeout_while(self.lock(), left, is_at_work),
        );
    }
}

fn described(error: &kiln_registry::RegistryError) -> String {
    format!("{error}: {}", error.failure)
}

/// A blob on its way out. It ends where it is given up: whether it was complete is for the sender to
/// know.
struct Following {
    content: BufReader<ArrivingBlob>,
    position: u64,
    sender: Arc<Sender>,
}

impl Read for Following {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.sender.halt.is_cancelled() {
            return Ok(0);
        }
        match self.content.read(buffer) {
            Ok(count) => {
                self.position += u64::try_from(count).unwrap_or(0);
                self.sender.sent.store(self.position, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            // There will be no such blob.
            Err(_) => {
                self.sender.stop();
                Ok(0)
            }
        }
    }
}

/// A blob that is written, and sent once it is large.
pub(crate) struct SentWriter<'w> {
    blob: BlobWriter,
    senders: Senders,
    to: &'w [Arc<Destination>],
    uploads: &'w EarlyUploads,
    tracer: &'w Tracer,
}

/// The senders of a blob; those that never learn its digest are given up.
#[derive(Default)]
struct Senders(Vec<Arc<Sender>>);

impl Drop for Senders {
    fn drop(&mut self) {
        for sender in &self.0 {
            sender.stop();
        }
    }
}

impl<'w> SentWriter<'w> {
    pub(crate) fn new(
        blob: BlobWriter,
        (uploads, to): (&'w EarlyUploads, &'w [Arc<Destination>]),
        tracer: &'w Tracer,
    ) -> Self {
        Self {
            blob,
            senders: Senders::default(),
            to,
            uploads,
            tracer,
        }
    }

    /// How many bytes were written.
    pub(crate) fn len(&self) -> u64 {
        self.blob.len()
    }

    /// Puts the blob into the store, and tells those who send it how it is called.
    pub(crate) fn commit(mut self) -> Result<(Digest, u64), BlobError> {
        let (digest, size) = self.blob.commit(None)?;
        for sender in std::mem::take(&mut self.senders.0) {
            self.uploads.name(&sender, &digest);
        }
        Ok((digest, size))
    }
}

impl Write for SentWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.blob.write(bytes)?;
        if !self.to.is_empty() && self.blob.len() >= WORTH_SENDING {
            let to = std::mem::take(&mut self.to);
            self.senders.0 = self.uploads.begin(&mut self.blob, to, self.tracer);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blob.flush()
    }
}

/// An upload that the push of an image finishes.
pub(crate) struct Claim(Arc<Sender>);

impl Claim {
    /// Whether not all of it has been sent yet.
    pub(crate) fn is_sending(&self) -> bool {
        matches!(self.0.lock().stage, Stage::Sending)
    }

    /// Gives the upload up: the registry has the blob from elsewhere.
    pub(crate) fn stop(self) {
        self.0.stop();
    }

    /// Waits for the rest to be sent, and has the registry keep the blob; whether it did. `told`
    /// hears how many bytes were sent.
    pub(crate) fn finish(
        self,
        size: u64,
        told: impl Fn(u64),
        (cancel, tracer): (&CancelToken, &Tracer),
    ) -> Result<bool, Cancelled> {
        if !tracer.within("send the rest", || self.wait_until_sent(size, told, cancel))? {
            return Ok(false);
        }
        let _span = tracer.span("finish the upload");
        self.wait_until_finished(cancel)
    }

    /// Waits until all is sent, and says that it is to be finished; whether it is sent.
    fn wait_until_sent(
        &self,
        size: u64,
        told: impl Fn(u64),
        cancel: &CancelToken,
    ) -> Result<bool, Cancelled> {
        let sender = &self.0;
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let mut state = sender.lock();
            cancel.check()?;
            match state.stage {
                Stage::Finished => return Ok(true),
                _ if sender.halt.is_cancelled() => return Ok(false),
                Stage::Sending => {}
                Stage::Sent => {
                    state.stage = Stage::Finishing(size);
                    sender.changed.notify_all();
                    return Ok(true);
                }
                Stage::Finishing(_) => return Ok(true),
                Stage::Over => return Ok(false),
            }
            drop(sender.changed.wait_timeout(state, LOOK));
            let sent = sender.sent.load(Ordering::Relaxed);
            if sent != last {
                (last, since) = (sent, Instant::now());
                told(sent);
            }
            // Once all is sent the registry may have to look at all of it.
            let looked_at = if sent < size { 0 } else { size };
            if since.elapsed() > patience(looked_at) {
                sender.stop();
                return Ok(false);
            }
        }
    }

    /// Waits until the registry was told the digest; whether it keeps the blob.
    fn wait_until_finished(&self, cancel: &CancelToken) -> Result<bool, Cancelled> {
        let sender = &self.0;
        let mut state = sender.lock();
        loop {
            match state.stage {
                Stage::Finished => return Ok(true),
                Stage::Finishing(_) if !sender.halt.is_cancelled() => {}
                _ => return Ok(false),
            }
            cancel.check()?;
            let waited = sender.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests;
