//! Layers that are unpacked while their blobs arrive.
//!
//! A download never waits for the unpacking: it goes to the store, and what unpacks reads it there.
//! The end of a blob is only told after its digest was found right, so no snapshot is kept of bytes
//! that nobody promised.
//!
//! Deliberately absent: telling why a layer could not be unpacked. The step that needs the layer
//! unpacks what is left, and has a place for the error.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use kiln_base::CancelToken;
use kiln_base::events::StepNumber;
use kiln_store::{ArrivingBlob, PartialBlob, StoreError};

use super::LayerBlob;
use crate::Engine;
use crate::chain::{Chain, ImageLayer, Origin};
use crate::error::RootError;
use crate::reporter::Reporter;
use crate::transfer::in_parallel;

/// Where the download of a layer says what it found in the store.
#[derive(Debug, Default)]
pub(crate) struct Arrival(Mutex<Option<SyncSender<Found>>>);

#[derive(Debug)]
enum Found {
    Stored,
    Growing(ArrivingBlob),
}

impl Arrival {
    /// The blob is in the store.
    pub(crate) fn stored(&self) {
        self.tell(Found::Stored);
    }

    /// The blob is being downloaded.
    pub(crate) fn growing(&self, blob: &PartialBlob) -> Result<(), StoreError> {
        // Nobody may want to know.
        if self.0.lock().is_ok_and(|sender| sender.is_some()) {
            self.tell(Found::Growing(blob.follow()?));
        }
        Ok(())
    }

    fn tell(&self, found: Found) {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.take() {
            // Whoever unpacked may have given up.
            let _ = sender.send(found);
        }
    }
}

impl Engine {
    /// Has the layers' blobs downloaded, several at a time, and unpacks them meanwhile, unless
    /// somebody else does that. `download` says where the blob is as soon as it knows.
    ///
    /// Success means that all was downloaded. What is not unpacked then is
    /// [`Engine::unpack_chain`]'s.
    pub(crate) fn download_unpacking<E: From<StoreError> + Send>(
        &self,
        chain: &Chain,
        download: impl Fn(&ImageLayer, &Arrival) -> Result<(), E> + Sync,
        progress: (&Reporter<'_>, StepNumber),
        cancel: &CancelToken,
    ) -> Result<(), E> {
        let mut numbered = Vec::new();
        let mut receivers = Vec::new();
        for layer in chain.layers() {
            let (sender, receiver) = sync_channel(1);
            receivers.push(Mutex::new(receiver));
            if let Origin::Image(image) = &layer.origin {
                numbered.push((image, Arrival(Mutex::new(Some(sender)))));
            }
        }
        let bottom = chain.bottom();
        let lock = match bottom {
            Some(bottom) => self.store.try_lock_snapshot(&bottom.snapshot)?,
            None => None,
        };
        let stop = CancelToken::new();
        let stopped = stop.clone();
        let _guard = cancel.on_cancel(move || stopped.cancel());
        let open = |index: usize, image: &ImageLayer| self.arriving(&receivers[index], image);
        std::thread::scope(|scope| {
            if lock.is_some() {
                // The step that needs the layers says what was wrong with them.
                scope.spawn(|| self.unpack_locked(chain, &open, progress, &stop).ok());
            }
            let downloaded = in_parallel(&numbered, |(image, arrival)| download(image, arrival));
            if downloaded.is_err() {
                stop.cancel();
            }
            // Whoever waits for a layer whose download never began learns that here.
            drop(numbered);
            downloaded
        })
    }

    /// Waits until it is known where the blob is.
    fn arriving(
        &self,
        found: &Mutex<Receiver<Found>>,
        image: &ImageLayer,
    ) -> Result<LayerBlob, RootError> {
        let found = found.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match found {
            Ok(Found::Growing(blob)) => Ok(Box::new(blob)),
            Ok(Found::Stored) => self.open_layer(image),
            Err(_) => Err(RootError::BlobGone(image.blob.digest.clone())),
        }
    }
}
