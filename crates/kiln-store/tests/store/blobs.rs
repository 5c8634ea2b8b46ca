//! Blobs and partial downloads.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_oci::{Algorithm, Digest, Digester};
use kiln_store::{ArrivingBlob, BlobError, Download, PartialBlob, Store, StoreError};

use crate::support::{TestStore, names};

fn begin(store: &Store, digest: &Digest) -> PartialBlob {
    match store.partial(digest, &CancelToken::new()).unwrap() {
        Download::Partial(partial) => partial,
        Download::Done => panic!("the blob is there"),
    }
}

#[test]
fn what_was_written_can_be_read() {
    let test = TestStore::new();
    let mut writer = test.store.blob_writer().unwrap();
    writer.write_all(b"hello ").unwrap();
    writer.write_all(b"world").unwrap();
    assert_eq!(writer.len(), 11);
    let (digest, size) = writer.commit(None).unwrap();
    assert_eq!((digest.clone(), size), (Digest::sha256(b"hello world"), 11));
    assert!(test.store.has_blob(&digest).unwrap());
    let mut blob = test.store.open_blob(&digest).unwrap().unwrap();
    assert_eq!(blob.size(), 11);
    blob.seek(SeekFrom::Start(6)).unwrap();
    let mut rest = String::new();
    blob.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "world");
    assert_eq!(
        test.store.read_blob(&digest, 11).unwrap().unwrap(),
        b"hello world"
    );
}

#[test]
fn a_stored_blob_has_one_name() {
    let test = TestStore::new();
    let digest = test.store.write_blob(b"bytes").unwrap();
    let path = test.path(&format!("blobs/sha256/{}", digest.hex()));
    assert_eq!(path.metadata().unwrap().nlink(), 1);
    let lease = names(&test.path("tmp"));
    assert_eq!(names(&test.path("tmp").join(lease)), "");
}

#[test]
fn a_sweep_takes_no_blob_that_is_being_stored() {
    let test = TestStore::new();
    let sweeper = test.open_again();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..300_u32 {
                let digest = test.store.write_blob(&number.to_le_bytes()).unwrap();
                assert!(test.store.has_blob(&digest).unwrap(), "blob {number}");
            }
        });
        while !writer.is_finished() {
            sweeper.sweep().unwrap();
        }
    });
    let stored = names(&test.path("blobs/sha256"));
    assert_eq!(stored.split(' ').count(), 300);
}

#[test]
fn a_missing_blob_is_no_error() {
    let test = TestStore::new();
    let digest = Digest::sha256(b"nothing");
    assert!(!test.store.has_blob(&digest).unwrap());
    assert!(test.store.open_blob(&digest).unwrap().is_none());
    assert!(test.store.read_blob(&digest, 1).unwrap().is_none());
}

#[test]
fn wrong_bytes_are_refused_and_leave_nothing() {
    let test = TestStore::new();
    let expected = Digest::sha256(b"good");
    let commit = |bytes: &[u8], size| {
        let mut writer = test.store.blob_writer().unwrap();
        writer.write_all(bytes).unwrap();
        writer
            .commit(Some((&expected, size)))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(commit(b"goo", 4), "expected 4 bytes, but 3 came");
    assert_eq!(
        commit(b"evil", 4),
        format!(
            "expected `{expected}`, but the bytes have `{}`",
            Digest::sha256(b"evil")
        )
    );
    assert_eq!(names(&test.path("blobs/sha256")), "");
    let lease = names(&test.path("tmp"));
    assert_eq!(names(&test.path("tmp").join(lease)), "");
}

#[test]
fn an_import_reads_no_more_than_announced() {
    let test = TestStore::new();
    let digest = Digest::sha256(b"abc");
    let mut endless = std::io::repeat(b'a');
    let error = test
        .store
        .import_blob(&mut endless, Some((&digest, 3)))
        .unwrap_err();
    assert!(
        matches!(
            error,
            BlobError::WrongSize {
                expected: 3,
                found: 4
            }
        ),
        "{error}"
    );
    test.store
        .import_blob(&mut b"abc".as_slice(), Some((&digest, 3)))
        .unwrap();
    assert!(test.store.has_blob(&digest).unwrap());
}

#[test]
fn sha512_blobs_have_their_own_place() {
    let test = TestStore::new();
    let mut digester = Digester::new(Algorithm::Sha512);
    digester.update(b"long");
    let digest = digester.finish();
    test.store
        .import_blob(&mut b"long".as_slice(), Some((&digest, 4)))
        .unwrap();
    assert_eq!(names(&test.path("blobs/sha512")), digest.hex());
    assert_eq!(test.store.read_blob(&digest, 4).unwrap().unwrap(), b"long");
}

#[test]
fn large_and_damaged_documents_are_refused() {
    let test = TestStore::new();
    let digest = test.store.write_blob(b"document").unwrap();
    let error = test.store.read_blob(&digest, 7).unwrap_err();
    assert!(
        matches!(
            error,
            BlobError::TooLarge {
                size: 8,
                limit: 7,
                ..
            }
        ),
        "{error}"
    );
    std::fs::write(test.path("blobs/sha256").join(digest.hex()), b"DOCUMENT").unwrap();
    let error = test.store.read_blob(&digest, 8).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("stored blob `{digest}` is damaged")
    );
}

#[test]
fn a_truncated_blob_is_mended_by_storing_it_again() {
    let test = TestStore::new();
    let digest = test.store.write_blob(b"document").unwrap();
    std::fs::write(test.path("blobs/sha256").join(digest.hex()), b"doc").unwrap();
    test.store
        .import_blob(&mut b"document".as_slice(), None)
        .unwrap();
    assert_eq!(
        test.store.read_blob(&digest, 8).unwrap().unwrap(),
        b"document"
    );
}

#[test]
fn a_download_goes_on_where_it_stopped() {
    let mut test = TestStore::new();
    let digest = Digest::sha256(b"hello world");
    begin(&test.store, &digest).write_all(b"hello").unwrap();
    test.reopen();
    let mut partial = begin(&test.store, &digest);
    assert_eq!(partial.len(), 5);
    partial.write_all(b" world").unwrap();
    partial.commit(Some(11)).unwrap();
    assert_eq!(
        test.store.read_blob(&digest, 11).unwrap().unwrap(),
        b"hello world"
    );
    assert_eq!(names(&test.path("partial")), "");
    let again = test.store.partial(&digest, &CancelToken::new()).unwrap();
    assert!(matches!(again, Download::Done));
}

#[test]
fn short_downloads_stay_and_wrong_ones_go() {
    let test = TestStore::new();
    let digest = Digest::sha256(b"hello world");
    let mut partial = begin(&test.store, &digest);
    partial.write_all(b"hello").unwrap();
    let error = partial.commit(Some(11)).unwrap_err();
    assert!(
        matches!(
            error,
            BlobError::WrongSize {
                expected: 11,
                found: 5
            }
        ),
        "{error}"
    );
    let mut partial = begin(&test.store, &digest);
    assert_eq!(partial.len(), 5);
    partial.write_all(b" w0rld").unwrap();
    let error = partial.commit(Some(11)).unwrap_err();
    assert!(matches!(error, BlobError::WrongDigest { .. }), "{error}");
    let mut partial = begin(&test.store, &digest);
    assert!(partial.is_empty());
    partial.write_all(b"hellish").unwrap();
    partial.restart().unwrap();
    partial.write_all(b"hello world").unwrap();
    partial.commit(None).unwrap();
}

#[test]
fn a_download_that_never_began_leaves_nothing() {
    let test = TestStore::new();
    drop(begin(&test.store, &Digest::sha256(b"x")));
    assert_eq!(names(&test.path("partial")), "");
}

#[test]
fn a_second_download_of_a_blob_waits_for_the_first() {
    let test = TestStore::new();
    let digest = Digest::sha256(b"hello");
    let mut first = begin(&test.store, &digest);
    let second = std::thread::spawn({
        let (store, digest) = (test.open_again(), digest.clone());
        move || {
            matches!(
                store.partial(&digest, &CancelToken::new()).unwrap(),
                Download::Done
            )
        }
    });
    first.write_all(b"hello").unwrap();
    first.commit(None).unwrap();
    assert!(second.join().unwrap());
}

#[test]
fn waiting_for_a_download_can_be_cancelled() {
    let test = TestStore::new();
    let digest = Digest::sha256(b"hello");
    let _first = begin(&test.store, &digest);
    let cancel = CancelToken::new();
    let second = std::thread::spawn({
        let (store, cancel) = (test.open_again(), cancel.clone());
        move || store.partial(&digest, &cancel).map(|_| ())
    });
    std::thread::sleep(Duration::from_millis(10));
    cancel.cancel();
    assert!(matches!(
        second.join().unwrap(),
        Err(StoreError::Cancelled(_))
    ));
}

#[test]
fn a_download_can_be_read_while_it_comes() {
    let mut test = TestStore::new();
    let digest = Digest::sha256(b"hello world");
    begin(&test.store, &digest).write_all(b"hel").unwrap();
    test.reopen();
    let partial = begin(&test.store, &digest);
    let early = partial.follow().unwrap();
    check_read_along(early, partial, |partial| partial.commit(Some(11)).unwrap());
}

/// Reads along from the beginning of what has three bytes by now, to its end.
#[track_caller]
fn check_read_along<W: Write>(mut early: ArrivingBlob, mut writer: W, commit: impl FnOnce(W)) {
    let mut start = [0; 3];
    early.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"hel");
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        early.read_to_end(&mut rest).map(|_| rest)
    });
    writer.write_all(b"lo ").unwrap();
    writer.write_all(b"world").unwrap();
    // All bytes are there, but whether they are the right ones is not known yet.
    std::thread::sleep(Duration::from_millis(10));
    assert!(!reader.is_finished());
    commit(writer);
    assert_eq!(reader.join().unwrap().unwrap(), b"lo world");
}

/// Whoever reads along must not take what came for the blob.
#[track_caller]
fn check_broken_off(end: impl FnOnce(PartialBlob)) {
    let test = TestStore::new();
    let digest = Digest::sha256(b"hello world");
    let mut partial = begin(&test.store, &digest);
    let mut reader = partial.follow().unwrap();
    partial.write_all(b"hello w0rld").unwrap();
    end(partial);
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the blob was not completed");
}

#[test]
fn reading_along_ends_in_an_error_where_the_download_does() {
    check_broken_off(drop);
    check_broken_off(|partial| {
        let error = partial.commit(Some(11)).unwrap_err();
        assert!(matches!(error, BlobError::WrongDigest { .. }), "{error}");
    });
    check_broken_off(|mut partial| {
        partial.restart().unwrap();
        partial.write_all(b"hello world").unwrap();
        partial.commit(Some(11)).unwrap();
    });
}

#[test]
fn a_blob_can_be_read_while_it_is_written() {
    let test = TestStore::new();
    let mut writer = test.store.blob_writer().unwrap();
    writer.write_all(b"hel").unwrap();
    let from_the_beginning = writer.follow().unwrap();
    check_read_along(from_the_beginning.clone(), writer, |writer| {
        writer.commit(None).unwrap();
    });
    let mut all = Vec::new();
    from_the_beginning.clone().read_to_end(&mut all).unwrap();
    assert_eq!(all, b"hello world");
}

#[test]
fn reading_along_ends_in_an_error_where_the_blob_is_given_up() {
    let test = TestStore::new();
    let mut writer = test.store.blob_writer().unwrap();
    let mut reader = writer.follow().unwrap();
    writer.write_all(b"hel").unwrap();
    drop(writer);
    reader.read_to_end(&mut Vec::new()).unwrap_err();

    let mut writer = test.store.blob_writer().unwrap();
    let mut reader = writer.follow().unwrap();
    writer.write_all(b"hel").unwrap();
    let other = Digest::sha256(b"other");
    writer.commit(Some((&other, 3))).unwrap_err();
    reader.read_to_end(&mut Vec::new()).unwrap_err();
}
