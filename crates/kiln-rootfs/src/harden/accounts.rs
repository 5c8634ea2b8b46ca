//! Accounts without a password.

use std::collections::BTreeSet;

use kiln_disk::{Contents, File, Node, Tree};

use super::HardenError;
use super::options::{Finding, HardenRule, Outcome, Preserve};
use crate::paths::{self, Last, ReadError};

/// Both files may be this long, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// Locks accounts that have an empty password in `/etc/shadow` or `/etc/passwd`, and in their backups.
pub(super) fn lock(
    tree: &mut Tree,
    contents: &dyn Contents,
    preserve: &Preserve,
    findings: &mut Vec<Finding>,
) -> Result<(), HardenError> {
    let shadow = read(tree, contents, "etc/shadow")?.unwrap_or_default();
    let shadowed: BTreeSet<Vec<u8>> = lines(&shadow)
        .filter_map(|line| line.split(|byte| *byte == b':').next())
        .map(<[u8]>::to_vec)
        .collect();
    for path in ["etc/shadow", "etc/shadow-", "etc/passwd", "etc/passwd-"] {
        let Some(text) = read(tree, contents, path)? else {
            continue;
        };
        let is_passwd = path.starts_with("etc/passwd");
        let (edited, names) = locked(&text, |name| match name {
            name if is_passwd && shadowed.contains(name) => b"x",
            _ if is_passwd => b"*",
            _ => b"!",
        });
        if names.is_empty() {
            continue;
        }
        // It was read by this path.
        let Ok(found) = paths::find(tree, b"", path.as_bytes(), Last::Follow) else {
            continue;
        };
        let outcome = if preserve.matches(path.as_bytes()) {
            Outcome::Preserved
        } else {
            tree.inode_mut(found.id).node = Node::File(File::of_bytes(edited));
            Outcome::Locked(names)
        };
        findings.push(Finding {
            rule: HardenRule::EmptyPasswords,
            path: found.path,
            outcome,
        });
    }
    Ok(())
}

fn read(tree: &Tree, contents: &dyn Contents, path: &str) -> Result<Option<Vec<u8>>, HardenError> {
    let Some(id) = paths::lookup(tree, path.as_bytes()) else {
        return Ok(None);
    };
    match paths::read(tree, contents, id, MAX_FILE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadError::NotAFile) => Ok(None),
        Err(cause) => Err(HardenError::Read {
            path: path.to_owned(),
            cause,
        }),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// The text with something in place of each empty password, and whose those were.
fn locked(text: &[u8], lock: impl Fn(&[u8]) -> &'static [u8]) -> (Vec<u8>, Vec<String>) {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut names = Vec::new();
    for line in lines(text) {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        match (fields.next(), fields.next(), fields.next()) {
            (Some(name), Some(b""), Some(rest)) if !name.is_empty() && name[0] != b'#' => {
                names.push(name.escape_ascii().to_string());
                out.extend_from_slice(&[name, b":", lock(name), b":", rest].concat());
            }
            _ => out.extend_from_slice(line),
        }
    }
    (out, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_passwords_are_locked() {
        let (text, names) = locked(b"root::1:\ndaemon:*:1:\n#a::\nx::0", |_| b"!");
        assert_eq!(text, b"root:!:1:\ndaemon:*:1:\n#a::\nx:!:0");
        assert_eq!(names, ["root", "x"]);
    }
}
