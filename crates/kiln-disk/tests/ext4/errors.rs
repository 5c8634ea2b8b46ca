//! What can not be written is said by path.

use std::num::NonZeroUsize;

use expect_test::expect;
use kiln_base::CancelToken;
use kiln_disk::ext4::{self, Options};
use kiln_disk::{Attributes, Content, Inode, Node, Tree};
use kiln_sys::fs::Device;
use testkit::DiskFiles;

use super::directory;

#[test]
fn what_can_not_be_on_a_disk_is_said_by_path() {
    let check = |inode: Inode, expected: expect_test::Expect| {
        let mut tree = Tree::new(directory().attributes);
        tree.add(Tree::ROOT, b"a\xff", inode).unwrap();
        let error = ext4::plan(&tree, &Options::default()).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    let with = |name: &str, value: &[u8]| Inode {
        attributes: Attributes {
            xattrs: vec![(name.into(), value.to_vec())],
            ..Attributes::default()
        },
        node: Node::Fifo,
    };
    let of = |node| Inode {
        attributes: Attributes::default(),
        node,
    };
    let file = |size, content| of(Node::File(kiln_disk::File { size, content }));
    check(
        with("user.x", &[0; 4041]),
        expect![[
            r"the extended attributes of `a\xff` take 4064 bytes, ext4 has room for 4,060: remove some"
        ]],
    );
    check(
        with("com.example", b""),
        expect![[r"`a\xff` has the extended attribute `com.example`, which ext4 can't name"]],
    );
    check(
        with("system.posix_acl_access", b"\x01\0\0\0"),
        expect![[r"`system.posix_acl_access` of `a\xff` is no access control list"]],
    );
    check(
        of(Node::CharDevice(Device {
            major: 4096,
            minor: 1,
        })),
        expect![[r"the device `a\xff` is 4096:1, Linux counts to 4095:1048575"]],
    );
    check(
        of(Node::Symlink(vec![b'x'; 4096].into())),
        expect![[r"the target of `a\xff` has 4096 bytes, not 1 to 4095"]],
    );
    check(
        file(u64::MAX, Content::Stored(0)),
        expect![[r"`a\xff` has 18446744073709551615 bytes, files of ext4 are smaller than 16 TiB"]],
    );
    check(
        file((1 << 44) - 4096, Content::Stored(0)),
        expect!["the disk would have 16 TiB or more, or more than 4,000,000,000 inodes"],
    );
    check(
        file(7, Content::Bytes((*b"six").into())),
        expect![[r"the content of `a\xff` is not as large as it says, or has overlapping parts"]],
    );
}

#[test]
fn a_file_that_became_shorter_is_named() {
    let mut files = DiskFiles::new();
    let key = files.store(b"short");
    let mut tree = Tree::new(directory().attributes);
    let node = Node::File(kiln_disk::File {
        size: 6,
        content: Content::Stored(key),
    });
    let attributes = Attributes::default();
    tree.add(Tree::ROOT, b"file", Inode { attributes, node })
        .unwrap();
    let plan = ext4::plan(&tree, &Options::default()).unwrap();
    let out = tempfile::tempfile().unwrap();
    let token = CancelToken::new();
    let error = plan.write(&tree, &files, &out, NonZeroUsize::MIN, &token);
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "could not read the content of `file`");
    token.cancel();
    let error = plan.write(&tree, &files, &out, NonZeroUsize::MIN, &token);
    assert_eq!(error.unwrap_err().to_string(), "cancelled");
}
