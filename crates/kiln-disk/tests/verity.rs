//! Hash trees, beside those that `veritysetup` makes.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;

use kiln_base::CancelToken;
use kiln_disk::verity::{self, Options};
use testkit::{Program, Random, find_program, skip};

fn options(salt: &[u8]) -> Options {
    Options {
        uuid: *b"0123456789abcdef",
        salt: salt.to_vec(),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Sizes with no level of hashes, with one, with a full one, with two and three.
const BLOCKS: [u64; 7] = [1, 2, 128, 129, 1024, 1025, 16_385];

#[test]
fn hashes_are_those_of_veritysetup() {
    let name = "hashes_are_those_of_veritysetup";
    let veritysetup = match find_program("veritysetup") {
        Ok(veritysetup) => veritysetup,
        Err(absent) => return skip(name, &absent),
    };
    let salts = [&b"salt"[..], b"", &[7; 256]];
    for (blocks, salt) in BLOCKS.into_iter().zip(salts.into_iter().cycle()) {
        check(&veritysetup, blocks, salt);
    }
}

fn check(veritysetup: &Path, blocks: u64, salt: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [data, ours, theirs, both] = [at("data"), at("ours"), at("theirs"), at("both")];
    let mut random = Random::new(blocks);
    let mut file = File::create_new(&data).unwrap();
    for block in 0..blocks {
        let is_hole = block % 3 == 1;
        let bytes = if is_hole {
            vec![0; 4096]
        } else {
            random.bytes(4096)
        };
        file.write_all(&bytes).unwrap();
    }
    let open = |path: &Path| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(path).unwrap()
    };
    let plan = verity::plan(blocks * 4096, &options(salt)).unwrap();
    let threads = |count| NonZeroUsize::new(count).unwrap();
    let cancel = CancelToken::new();
    let written = plan
        .write(&open(&data), &open(&ours), 0, threads(3), &cancel)
        .unwrap();
    let root = hex(&written.root);

    let salt = if salt.is_empty() {
        "-".to_owned()
    } else {
        hex(salt)
    };
    let uuid = "--uuid=30313233-3435-3637-3839-616263646566";
    let format = Program::new(veritysetup).args(["format", uuid, "--salt", &salt]);
    let format = format.args([&data, &theirs]).run().ok();
    assert!(
        format.text().contains(&root),
        "{root} is not in {}",
        format.text()
    );
    let [mut ours_read, mut theirs_read] =
        [&ours, &theirs].map(|path| std::fs::read(path).unwrap());
    assert_eq!(ours_read.len() as u64, plan.size());
    // A superblock alone need not fill its block.
    theirs_read.resize(theirs_read.len().max(4096), 0);
    assert!(ours_read == theirs_read, "{blocks}");
    let verify = Program::new(veritysetup).arg("verify");
    let _ = verify.args([&data, &ours]).arg(&root).run().ok();

    // The same after the data, by one thread.
    std::fs::copy(&data, &both).unwrap();
    let disk = open(&both);
    let size = blocks * 4096;
    let again = plan.write(&disk, &disk, size, threads(1), &cancel).unwrap();
    assert_eq!(again, written);
    ours_read = std::fs::read(&both)
        .unwrap()
        .split_off(usize::try_from(size).unwrap());
    assert!(ours_read == theirs_read, "{blocks}");
    let verify = Program::new(veritysetup)
        .arg("verify")
        .args([&both, &both])
        .arg(&root);
    let _ = verify.arg(format!("--hash-offset={size}")).run().ok();
}

#[test]
fn what_can_have_no_tree_is_refused() {
    let error = |size, salt: &[u8]| verity::plan(size, &options(salt)).unwrap_err().to_string();
    assert_eq!(
        error(4097, b""),
        "a disk of 4097 bytes does not consist of blocks of 4096 bytes"
    );
    assert_eq!(
        error(0, b""),
        "a disk of 0 bytes does not consist of blocks of 4096 bytes"
    );
    assert_eq!(
        error(4096, &[0; 257]),
        "a salt of 257 bytes is longer than 256"
    );
}
