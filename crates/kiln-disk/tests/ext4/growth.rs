//! Disks in use: written to by the kernel, and made larger.

use std::fs::File;

use kiln_disk::ext4::Options;
use testkit::{Absent, DiskFiles, Mounted, Program, Shape, random_tree};

use super::{Disk, tools};

/// The kernel lets those make a mounted disk larger who have `CAP_SYS_RESOURCE`.
fn can_grow_mounted(test: &str) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.unwrap().trim(), 16).unwrap();
    let can = effective >> 24 & 1 == 1;
    if !can {
        let what = "making a mounted disk larger needs CAP_SYS_RESOURCE";
        testkit::skip(test, &Absent(what.to_owned()));
    }
    can
}

#[test]
fn a_disk_with_a_journal_is_used_and_grows() {
    if !tools("a_disk_with_a_journal_is_used_and_grows", true) {
        return;
    }
    let mut files = DiskFiles::new();
    let tree = random_tree(1, &Shape::all(300), &mut files);
    let options = Options {
        journal: true,
        free_bytes: 8 << 20,
        free_inodes: 500,
        ..Options::default()
    };
    let online = can_grow_mounted("a_disk_with_a_journal_is_used_and_grows");
    for is_mounted in [true, false] {
        let disk = Disk::new(&tree, &files, &options);
        {
            let mounted = Mounted::new(&disk.path, "ext4", "rw");
            for number in 0..300 {
                let path = mounted.path().join(format!("new file {number}"));
                std::fs::write(path, vec![1; number * 40]).unwrap();
            }
            std::fs::write(mounted.path().join("large"), vec![7; 5 << 20]).unwrap();
        }
        disk.check();
        let file = File::options().write(true).open(&disk.path).unwrap();
        file.set_len(3 << 30).unwrap();
        if is_mounted && online {
            let mounted = Mounted::new(&disk.path, "ext4", "rw");
            let source = Program::new("findmnt").args(["-no", "SOURCE"]);
            let source = source.arg(mounted.path()).run().ok().text();
            let _ = Program::new("resize2fs").arg(source.trim()).run().ok();
            std::fs::write(mounted.path().join("more"), vec![7; 500 << 20]).unwrap();
        } else {
            // A disk that was mounted has to be checked first.
            let _ = Program::new("e2fsck").arg("-fp").arg(&disk.path).run().ok();
            let _ = Program::new("resize2fs").arg(&disk.path).run().ok();
        }
        disk.check();
        let facts = Program::new("dumpe2fs").arg("-h").arg(&disk.path).run();
        assert!(
            facts
                .ok()
                .text()
                .contains("Block count:              786432")
        );
    }
}
