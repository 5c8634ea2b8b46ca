//! Outputs of a whole root file system.

use expect_test::expect;
use kiln_base::{CancelToken, Timestamp};
use kiln_layer::{ExportOptions, export_tree, tar_tree};

use crate::tree::{Scratch, is_root, list};

const TREE: &str = "bin dir 0755 1:1 @9
     bin/a file 4755 1:1 @9 hello user.note=x
     bin/b hardlink bin/a
     locked dir 0500 0:0 @1
     locked/x file 0400 0:0 @1 x
     lib symlink 0777 0:0 @1 bin";
const OPTIONS: ExportOptions = ExportOptions {
    clamp_mtime: Some(Timestamp::from_seconds(5)),
};

#[test]
fn a_directory_gets_what_is_in_the_root() {
    if !is_root("export") {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.tree("root", TREE);
    let dest = scratch.tree(
        "dest",
        "bin dir 0700 0:0 @1
         bin/kept file 0644 0:0 @1 x
         bin/a file 0644 0:0 @1 old
         lib dir 0755 0:0 @1
         lib/x file 0644 0:0 @1 x
         locked symlink 0777 0:0 @1 bin",
    );
    export_tree(&root, &dest, &OPTIONS, &CancelToken::new()).expect("an export");
    expect![[r#"
        bin dir 0755 0:0 @5
        bin/a file 4755 0:0 @5 hello user.note=x
        bin/b hardlink bin/a
        bin/kept file 0644 0:0 @1 x
        lib symlink 0777 0:0 @1 bin
        locked dir 0500 0:0 @1
        locked/x file 0400 0:0 @1 x
    "#]]
    .assert_eq(&list(&dest));
}

#[test]
fn the_same_tree_gives_the_same_archive() {
    if !is_root("tar") {
        return;
    }
    let scratch = Scratch::new();
    let mut archives = Vec::new();
    for name in ["one", "two"] {
        let root = scratch.tree(name, TREE);
        let mut archive = Vec::new();
        tar_tree(&root, &mut archive, &OPTIONS, &CancelToken::new()).expect("an archive");
        archives.push(archive);
    }
    assert_eq!(archives[0], archives[1]);
    let into = scratch.dir("into");
    crate::unpack(&archives[0], &into).expect("an archive");
    expect![[r#"
        bin dir 0755 1:1 @5
        bin/a file 4755 1:1 @5 hello user.note=x
        bin/b hardlink bin/a
        lib symlink 0777 0:0 @1 bin
        locked dir 0500 0:0 @1
        locked/x file 0400 0:0 @1 x
    "#]]
    .assert_eq(&list(&into));
}
