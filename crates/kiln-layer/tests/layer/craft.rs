//! Archives with names and headers that no honest writer makes.

use tar::{EntryType, Header};

/// An archive of lines as `name kind detail`: `a/b file hello`, `l symlink /etc`, `h hardlink a/b`,
/// `d dir`, `n char 1,3`. A fourth word is `uid:gid`. `NUL` in a name stands for a zero byte.
pub(crate) fn archive(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let detail = words.get(2).copied().unwrap_or("");
        let mut header = Header::new_ustar();
        header.set_mtime(7);
        header.set_mode(0o644);
        let (uid, gid) = words
            .get(3)
            .unwrap_or(&"0:0")
            .split_once(':')
            .expect("uid:gid");
        header.set_uid(uid.parse().expect("uid"));
        header.set_gid(gid.parse().expect("gid"));
        header.set_size(0);
        let mut content: &[u8] = b"";
        match words[1] {
            "file" => {
                content = detail.as_bytes();
                header.set_size(content.len() as u64);
                header.set_entry_type(EntryType::Regular);
            }
            "dir" => {
                header.set_mode(0o755);
                header.set_entry_type(EntryType::Directory);
            }
            "symlink" | "hardlink" => {
                let is_hard = words[1] == "hardlink";
                let kind = if is_hard {
                    EntryType::Link
                } else {
                    EntryType::Symlink
                };
                header.set_entry_type(kind);
                put(&mut header.as_old_mut().linkname, detail);
            }
            "char" => {
                header.set_entry_type(EntryType::Char);
                let (major, minor) = detail.split_once(',').expect("major,minor");
                header
                    .set_device_major(major.parse().expect("major"))
                    .expect("ustar");
                header
                    .set_device_minor(minor.parse().expect("minor"))
                    .expect("ustar");
            }
            kind => header.set_entry_type(EntryType::new(kind.as_bytes()[0])),
        }
        put(&mut header.as_old_mut().name, words[0]);
        push(&mut bytes, &mut header, content);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Appends a header and its content.
pub(crate) fn push(bytes: &mut Vec<u8>, header: &mut Header, content: &[u8]) {
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

fn put(field: &mut [u8], text: &str) {
    let text = text.replace("NUL", "\0");
    field[..text.len()].copy_from_slice(text.as_bytes());
}
