//! Disks from a stranger: reading an ext4 ends, whatever it says, and takes no more memory than the
//! disk could fill.
#![no_main]

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use kiln_base::CancelToken;
use kiln_disk::ext4::{self, Options};
use kiln_fuzz::disk::{Zeros, bytes_of, read_changed, tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| read_changed(good_disk(), text));

fn good_disk() -> &'static [u8] {
    static DISK: OnceLock<Vec<u8>> = OnceLock::new();
    DISK.get_or_init(|| {
        let tree = tree();
        let plan = ext4::plan(&tree, &Options::default()).expect("it fits");
        let out = tempfile::tempfile().expect("a temporary file");
        plan.write(&tree, &Zeros, &out, NonZeroUsize::MIN, &CancelToken::new())
            .expect("it is written");
        bytes_of(out)
    })
}
