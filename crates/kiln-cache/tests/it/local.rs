//! Caches in folders.

use kiln_base::CancelToken;
use kiln_cache::{Context, import};
use kiln_oci::Digest;

use crate::support::{Build, blob, chain, context, read, sample, shown, source, write};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn at(directory: &tempfile::TempDir, options: &str) -> (String, String) {
    let path = directory.path().join("cache");
    let path = path.display();
    (
        format!("type=local,dest={path}{options}"),
        format!("type=local,src={path}"),
    )
}

#[test]
fn a_cache_is_read_back_in_every_shape() {
    for shape in ["", ",image-manifest=false", ",oci-mediatypes=false"] {
        let directory = folder();
        let (to, from) = at(&directory, shape);
        let (build, expected) = sample();
        let summary = write(&to, &build).expect("written");
        assert_eq!((summary.layers, summary.sent, summary.records), (4, 4, 4));
        let imported = read(&from).expect("read");
        assert_eq!(imported.len(), 4);
        assert_eq!(shown(&imported, 5), expected);
        assert_eq!(write(&to, &build).expect("written").sent, 0);
    }
}

#[test]
fn a_missing_cache_is_told_apart() {
    let directory = folder();
    let (to, from) = at(&directory, "");
    assert!(read(&from).expect_err("nothing there").is_missing());
    write(&to, &sample().0).expect("written");
    let error = read(&format!("{from},tag=other")).expect_err("no such tag");
    assert!(error.is_missing());
}

#[test]
fn a_build_without_results_writes_nothing() {
    let directory = folder();
    let (to, from) = at(&directory, "");
    write(&to, &Build::default()).expect("nothing to do");
    assert!(read(&from).expect_err("nothing there").is_missing());
}

#[test]
fn reset_removes_what_nothing_names() {
    let directory = folder();
    let (to, from) = at(&directory, "");
    write(&to, &Build::default().with(&[1], "old")).expect("written");
    write(
        &format!("{to},tag=kept"),
        &Build::default().with(&[1], "kept"),
    )
    .expect("written");
    write(&to, &Build::default().with(&[2], "new")).expect("written");
    let old = directory
        .path()
        .join("cache/blobs/sha256")
        .join(blob("old").hex());
    assert!(old.exists());
    write(
        &format!("{to},reset=true"),
        &Build::default().with(&[2], "new"),
    )
    .expect("written");
    assert!(!old.exists());
    assert_eq!(
        shown(&read(&from).expect("read"), 2),
        "1: nothing\n2: 2: new\n"
    );
    let kept = read(&format!("{from},tag=kept")).expect("read");
    assert_eq!(shown(&kept, 1), "1: 1: kept\n");
}

#[test]
fn a_digest_leads_to_a_cache_without_a_tag() {
    let directory = folder();
    let (to, from) = at(&directory, "");
    let manifest = write(&to, &sample().0)
        .expect("written")
        .manifest
        .expect("one");
    write(&to, &Build::default().with(&[9], "x")).expect("written");
    let imported = read(&format!("{from},digest={}", manifest.digest)).expect("read");
    assert_eq!(shown(&imported, 5), sample().1);
    let nothing = format!("{from},digest={}", Digest::sha256(b"nothing"));
    assert!(read(&nothing).expect_err("nothing").is_missing());
}

#[test]
fn damage_is_noticed() {
    let directory = folder();
    let (to, from) = at(&directory, "");
    let summary = write(&to, &Build::default().with(&[1], "base")).expect("written");
    let blobs = directory.path().join("cache/blobs/sha256");
    let layer = blobs.join(blob("base").hex());
    std::fs::write(&layer, "bas3").expect("damaged");
    let text = shown(&read(&from).expect("read"), 1);
    assert!(text.contains("is damaged: its content has"), "{text}");
    std::fs::write(&layer, "base and more").expect("damaged");
    let text = shown(&read(&from).expect("read"), 1);
    assert!(
        text.contains("it has more than the announced 4 bytes"),
        "{text}"
    );
    std::fs::remove_file(&layer).expect("removed");
    let text = shown(&read(&from).expect("read"), 1);
    assert!(text.contains("any more"), "{text}");
    let manifest = blobs.join(summary.manifest.expect("one").digest.hex());
    std::fs::write(manifest, "{}").expect("damaged");
    let error = read(&from).expect_err("damaged");
    assert!(chain(&error).contains("is damaged"), "{}", chain(&error));
    assert!(!error.is_missing());
}

#[test]
fn a_layer_that_is_not_there_ends_the_export() {
    let directory = folder();
    let (to, from) = at(&directory, "");
    let mut build = Build::default().with(&[1], "base");
    build.blobs = kiln_image::MemoryBlobs::new();
    let error = write(&to, &build).expect_err("no content");
    assert!(
        error.to_string().contains("could not read layer"),
        "{error}"
    );
    assert!(read(&from).expect_err("nothing there").is_missing());
}

#[test]
fn several_exports_to_one_folder_do_not_disturb_each_other() {
    let directory = folder();
    let (to, from) = at(&directory, "");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let to = format!("{to},tag=t{number}");
            scope.spawn(move || write(&to, &sample().0).expect("written"));
        }
    });
    for number in 0..4 {
        let imported = read(&format!("{from},tag=t{number}")).expect("read");
        assert_eq!(shown(&imported, 5), sample().1);
    }
}

#[test]
fn a_cancelled_transfer_says_so() {
    let directory = folder();
    let (to, from) = at(&directory, "");
    write(&to, &sample().0).expect("written");
    let cancel = CancelToken::new();
    let context: Context<'static> = context();
    let imported = import(&source(&from), context, &cancel).expect("read");
    cancel.cancel();
    let found = imported.find(&[1; 32]).expect("a result");
    let fetched = imported.fetch_blob(&found.layers[0].descriptor, &mut Vec::new(), &cancel);
    assert!(fetched.expect_err("cancelled").is_cancelled());
}
