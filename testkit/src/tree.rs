//! A file tree from a text.
//!
//! One name in a line:
//!
//! ```text
//! dir/                0755
//! dir/file            0644 content of the file
//! dir/link -> file
//! dir/hard = dir/file
//! ```
//!
//! Names can't contain spaces unless they are in double quotes. `\n` in content is a line feed; every
//! content ends in one. Parents are made with mode 0755. Modes are set whatever the process's mask
//! is, and all times are 2001-09-09T01:46:40Z.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Makes the tree below `root`, which has to exist.
pub fn make_tree(root: &Path, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        make_entry(root, line);
    }
    set_times(root);
}

fn make_entry(root: &Path, line: &str) {
    let (name, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').expect("a closing quote"),
        None => line.split_once(' ').unwrap_or((line, "")),
    };
    let path = root.join(name);
    let rest = rest.trim_start();
    let parent = if name.ends_with('/') {
        Some(path.as_path())
    } else {
        path.parent()
    };
    make_folders(root, parent.expect("a name has a parent"));
    if let Some(target) = rest.strip_prefix("-> ") {
        symlink(target, &path).expect("a new name");
        return;
    }
    if let Some(target) = rest.strip_prefix("= ") {
        fs::hard_link(root.join(target), &path).expect("a new name for a file that is there");
        return;
    }
    let (mode, content) = rest.split_once(' ').unwrap_or((rest, ""));
    if !name.ends_with('/') {
        let content = if content.is_empty() {
            String::new()
        } else {
            format!("{}\n", content.replace("\\n", "\n"))
        };
        fs::write(&path, content).expect("a new file");
    }
    let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

fn make_folders(root: &Path, folder: &Path) {
    if folder.exists() || !folder.starts_with(root) {
        return;
    }
    make_folders(root, folder.parent().expect("it is below the root"));
    fs::create_dir(folder).expect("a new folder");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn set_times(folder: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for entry in fs::read_dir(folder).expect("it is ours") {
        let path = entry.expect("it is ours").path();
        let kind = path.symlink_metadata().expect("it is there").file_type();
        if kind.is_dir() {
            set_times(&path);
        } else if kind.is_file() {
            let file = fs::File::open(&path).expect("it is ours");
            file.set_modified(time).expect("it is ours");
        }
    }
    let handle = fs::File::open(folder).expect("it is ours");
    handle.set_modified(time).expect("it is ours");
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_tree_from_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        make_tree(
            root,
            r#"
            a/b/file   0640 one\ntwo
            a/empty/   0700
            "sp ace"   0644 x
            a/link -> b/file
            a/hard = a/b/file
            "#,
        );
        assert_eq!(
            fs::read_to_string(root.join("a/link")).unwrap(),
            "one\ntwo\n"
        );
        let file = fs::metadata(root.join("a/b/file")).unwrap();
        assert_eq!(
            (file.mode() & 0o7777, file.nlink(), file.mtime()),
            (0o640, 2, 1_000_000_000)
        );
        assert_eq!(
            fs::metadata(root.join("a/empty")).unwrap().mode() & 0o7777,
            0o700
        );
        assert_eq!(fs::read_to_string(root.join("sp ace")).unwrap(), "x\n");
    }
}
