//! The users and groups of a root file system: what `USER` and `--chown` mean in it.
//!
//! `/etc/passwd` and `/etc/group` belong to the image, so they are opened inside its root, have to
//! be regular files, and are read up to a limit. Lines that make no sense are skipped.

use std::io::{self, Read};

use kiln_sys::fs::{Dir, FsError, Owner};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// As BuildKit has it.
const MAX_BYTES: u64 = 10 << 20;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups, ascending; none where the group was given explicitly.
    pub groups: Vec<u32>,
    /// The home directory, `/` where the user has none.
    pub home: String,
}

/// A user or group that can't be resolved.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A name that `/etc/passwd` does not have.
    #[error("user `{0}` is not in the image's {PASSWD}")]
    NoSuchUser(String),
    /// A name that `/etc/group` does not have.
    #[error("group `{0}` is not in the image's {GROUP}")]
    NoSuchGroup(String),
    /// A number that is no id.
    #[error("`{0}` is out of range: ids go up to 2147483647")]
    OutOfRange(String),
    /// A file that no image has honestly.
    #[error("the image's {0} is larger than 10 MiB")]
    TooLarge(&'static str),
    /// A file that is there but can't be opened.
    #[error(transparent)]
    Open(#[from] FsError),
    /// A file that can't be read.
    #[error("could not read the image's {file}")]
    Read {
        /// Which.
        file: &'static str,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Resolves the value of `USER`: `user`, `user:group`, each a name or a number. Empty means root.
///
/// * A number that `/etc/passwd` does not have gets group 0.
/// * Without a group, the user's own group from `/etc/passwd`, and as supplementary groups all that
///   `/etc/group` lists the user in.
pub fn resolve_user(root: &Dir, text: &str) -> Result<ResolvedUser, UserError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, group),
        None => (text, ""),
    };
    let user = Id::parse(if user.is_empty() { "0" } else { user })?;
    let known = find_user(root, &user)?;
    let uid = match (&known, &user) {
        (Some(known), _) => known.uid,
        (None, Id::Number(uid)) => *uid,
        (None, Id::Name("root")) => 0,
        (None, Id::Name(name)) => return Err(UserError::NoSuchUser((*name).to_owned())),
    };
    let (gid, groups) = if group.is_empty() {
        let groups = match &known {
            Some(known) => groups_of(root, &known.name)?,
            None => Vec::new(),
        };
        (known.as_ref().map_or(0, |known| known.gid), groups)
    } else {
        (find_group(root, group)?, Vec::new())
    };
    Ok(ResolvedUser {
        uid,
        gid,
        groups,
        home: known
            .map(|known| known.home)
            .filter(|home| !home.is_empty())
            .unwrap_or_else(|| "/".to_owned()),
    })
}

/// Resolves the value of `--chown`: as [`resolve_user`], except that a number without a group is
/// its own group.
pub fn resolve_owner(root: &Dir, text: &str) -> Result<Owner, UserError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, group),
        None => (text, ""),
    };
    let (uid, gid) = match Id::parse(if user.is_empty() { "0" } else { user })? {
        Id::Number(id) => (id, id),
        Id::Name("root") => (0, 0),
        Id::Name(name) => match find_user(root, &Id::Name(name))? {
            Some(known) => (known.uid, known.gid),
            None => return Err(UserError::NoSuchUser(name.to_owned())),
        },
    };
    let gid = match group {
        "" => gid,
        "root" => 0,
        group => find_group(root, group)?,
    };
    Ok(Owner { uid, gid })
}

/// A user or a group as written.
enum Id<'a> {
    Number(u32),
    Name(&'a str),
}

impl<'a> Id<'a> {
    fn parse(text: &'a str) -> Result<Self, UserError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Name(text));
        }
        match text.parse::<i32>() {
            Ok(id) => Ok(Self::Number(id.unsigned_abs())),
            Err(_) => Err(UserError::OutOfRange(text.to_owned())),
        }
    }
}

struct KnownUser {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// The first line of `/etc/passwd` that has the name, or the number.
fn find_user(root: &Dir, user: &Id<'_>) -> Result<Option<KnownUser>, UserError> {
    let passwd = read(root, PASSWD)?;
    let known = lines(&passwd).filter_map(|fields| {
        let &[name, _, uid, gid, ..] = &*fields else {
            return None;
        };
        Some(KnownUser {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: fields.get(5).copied().unwrap_or_default().to_owned(),
        })
    });
    Ok(known.into_iter().find(|known| match user {
        Id::Number(uid) => known.uid == *uid,
        Id::Name(name) => known.name == *name,
    }))
}

/// A group by name or number; numbers need no line in `/etc/group`.
fn find_group(root: &Dir, text: &str) -> Result<u32, UserError> {
    let name = match Id::parse(text)? {
        Id::Number(gid) => return Ok(gid),
        Id::Name(name) => name,
    };
    let file = read(root, GROUP)?;
    let found = groups(&file).find(|(group, ..)| *group == name);
    match found {
        Some((_, gid, _)) => Ok(gid),
        None if name == "root" => Ok(0),
        None => Err(UserError::NoSuchGroup(name.to_owned())),
    }
}

fn groups_of(root: &Dir, user: &str) -> Result<Vec<u32>, UserError> {
    let file = read(root, GROUP)?;
    let mut gids: Vec<u32> = groups(&file)
        .filter(|(_, _, members)| members.split(',').any(|member| member.trim() == user))
        .map(|(_, gid, _)| gid)
        .collect();
    gids.sort_unstable();
    gids.dedup();
    Ok(gids)
}

/// Name, number and comma-separated members of each group.
fn groups(file: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    lines(file).filter_map(|fields| {
        let &[name, _, gid, ..] = &*fields else {
            return None;
        };
        let members = fields.get(3).copied().unwrap_or_default();
        Some((name, gid.parse().ok()?, members))
    })
}

fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = file.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(':').collect())
}

/// The text of a file in the image; empty where there is none. What is not UTF-8 can't be a name in
/// a Dockerfile, so it is replaced.
fn read(root: &Dir, file: &'static str) -> Result<String, UserError> {
    let opened = match root.open_file_in_root(file) {
        Ok(opened) => opened,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(String::new());
        }
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    let read = opened.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|cause| UserError::Read { file, cause })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(UserError::TooLarge(file));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    const PASSWD_TEXT: &str = "\
# users
root:x:0:0:root:/root:/bin/sh
www:x:33:34:www:/var/www:/sbin/nologin
broken:x:many:1
app:x:1000:1001::/home/app:/bin/sh
nohome:x:1005:1005
";
    const GROUP_TEXT: &str = "\
root:x:0:
www:x:34:
docker:x:998:app,www
audio:x:29:app
";

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("etc")).unwrap();
        for (name, text) in files {
            std::fs::write(temp.path().join(name), text).unwrap();
        }
        let dir = Dir::open(temp.path()).unwrap();
        (temp, dir)
    }

    fn image() -> (tempfile::TempDir, Dir) {
        root(&[("etc/passwd", PASSWD_TEXT), ("etc/group", GROUP_TEXT)])
    }

    /// One line for each value, separated by blanks.
    #[track_caller]
    fn check(values: &str, expected: &Expect) {
        let (_temp, root) = image();
        let mut text = String::new();
        for value in values.split(' ') {
            let user = match resolve_user(&root, value) {
                Ok(user) => format!("{}:{} {:?} {}", user.uid, user.gid, user.groups, user.home),
                Err(error) => error.to_string(),
            };
            let owner = match resolve_owner(&root, value) {
                Ok(owner) => owner.to_string(),
                Err(error) => error.to_string(),
            };
            writeln!(text, "{value:?}: {user} | {owner}").unwrap();
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn users_and_owners() {
        check(
            "root www app nohome 1000 1234 app:docker app:7 33:docker 1:2 :docker app: ",
            &expect![[r#"
                "root": 0:0 [] /root | 0:0
                "www": 33:34 [998] /var/www | 33:34
                "app": 1000:1001 [29, 998] /home/app | 1000:1001
                "nohome": 1005:1005 [] / | 1005:1005
                "1000": 1000:1001 [29, 998] /home/app | 1000:1000
                "1234": 1234:0 [] / | 1234:1234
                "app:docker": 1000:998 [] /home/app | 1000:998
                "app:7": 1000:7 [] /home/app | 1000:7
                "33:docker": 33:998 [] /var/www | 33:998
                "1:2": 1:2 [] / | 1:2
                ":docker": 0:998 [] /root | 0:998
                "app:": 1000:1001 [29, 998] /home/app | 1000:1001
                "": 0:0 [] /root | 0:0
            "#]],
        );
    }

    #[test]
    fn unknown_names_are_errors() {
        check(
            "nobody broken app:nogroup 99999999999 1:2147483648",
            &expect![[r#"
                "nobody": user `nobody` is not in the image's /etc/passwd | user `nobody` is not in the image's /etc/passwd
                "broken": user `broken` is not in the image's /etc/passwd | user `broken` is not in the image's /etc/passwd
                "app:nogroup": group `nogroup` is not in the image's /etc/group | group `nogroup` is not in the image's /etc/group
                "99999999999": `99999999999` is out of range: ids go up to 2147483647 | `99999999999` is out of range: ids go up to 2147483647
                "1:2147483648": `2147483648` is out of range: ids go up to 2147483647 | `2147483648` is out of range: ids go up to 2147483647
            "#]],
        );
    }

    #[test]
    fn an_image_without_the_files_has_numbers_and_root() {
        let (_temp, root) = root(&[]);
        let user = resolve_user(&root, "root").unwrap();
        assert_eq!((user.uid, user.gid, &*user.home), (0, 0, "/"));
        assert_eq!(resolve_user(&root, "5").unwrap().uid, 5);
        assert!(resolve_user(&root, "app").is_err());
        assert_eq!(resolve_owner(&root, "root:root").unwrap(), Owner::ROOT);
    }

    #[test]
    fn links_stay_inside_the_image() {
        let (temp, root) = root(&[("passwd", "inside:x:7:7::/:")]);
        std::os::unix::fs::symlink("/passwd", temp.path().join("etc/passwd")).unwrap();
        assert_eq!(resolve_user(&root, "inside").unwrap().uid, 7);
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let (temp, root) = root(&[]);
        let file = std::fs::File::create(temp.path().join("etc/passwd")).unwrap();
        file.set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(
            resolve_user(&root, "app"),
            Err(UserError::TooLarge(PASSWD))
        ));
        std::fs::remove_file(temp.path().join("etc/passwd")).unwrap();
        std::fs::create_dir(temp.path().join("etc/passwd")).unwrap();
        assert!(matches!(
            resolve_user(&root, "app"),
            Err(UserError::Open(_))
        ));
    }
}
