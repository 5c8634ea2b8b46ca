//! Users and groups by the texts of `/etc/passwd` and `/etc/group`, with the meaning that Docker
//! gives to `USER`.
//!
//! The files belong to an image: names are bytes, and lines that make no sense are skipped.

/// The texts of a disk's two files; empty where there are none.
#[derive(Debug, Clone, Copy)]
pub struct Accounts<'a> {
    /// `/etc/passwd`
    pub passwd: &'a [u8],
    /// `/etc/group`
    pub group: &'a [u8],
}

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups, ascending.
    pub groups: Vec<u32>,
    /// The home directory, `/` where the user has none.
    pub home: String,
    /// The name that `/etc/passwd` has for the user.
    pub name: Option<String>,
}

/// A user or group that can't be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// A name that `/etc/passwd` does not have.
    #[error("user `{0}` is not in `/etc/passwd`")]
    NoSuchUser(String),
    /// A name that `/etc/group` does not have.
    #[error("group `{0}` is not in `/etc/group`")]
    NoSuchGroup(String),
    /// A number that is no id.
    #[error("`{0}` is out of range: ids go up to 2147483647")]
    OutOfRange(String),
}

/// Ids go up to this, as Docker has it.
const MAX_ID: u64 = 2_147_483_647;

impl Accounts<'_> {
    /// Resolves `user` or `user:group`, each a name or a number, and more groups. Empty means root.
    ///
    /// * A number that `/etc/passwd` does not have gets group 0.
    /// * Without a group, the user's own group from `/etc/passwd`, and as supplementary groups all
    ///   that `/etc/group` lists the user in; with one, just that one.
    ///
    /// # Errors
    ///
    /// See [`UserError`].
    pub fn resolve(&self, text: &str, more: &[String]) -> Result<Identity, UserError> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let known = self.find_user(if user.is_empty() { "0" } else { user })?;
        let uid = match (&known, user) {
            (Some(known), _) => known.uid,
            (None, "" | "root") => 0,
            (None, user) => number(user)?.ok_or_else(|| UserError::NoSuchUser(user.to_owned()))?,
        };
        let mut groups = Vec::new();
        let gid = if group.is_empty() {
            if let Some(known) = &known {
                groups = self.groups_of(known.name);
            }
            known.as_ref().map_or(0, |known| known.gid)
        } else {
            self.group(group)?
        };
        for group in more {
            groups.push(self.group(group)?);
        }
        groups.sort_unstable();
        groups.dedup();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let home = known.as_ref().map(|known| text(known.home));
        Ok(Identity {
            uid,
            gid,
            groups,
            home: home
                .filter(|home| !home.is_empty())
                .unwrap_or_else(|| "/".to_owned()),
            name: known.map(|known| text(known.name)),
        })
    }

    /// A name comes before a number: a user may be called `1000`.
    fn find_user(&self, user: &str) -> Result<Option<Account<'_>>, UserError> {
        let by_name = self.accounts().find(|known| known.name == user.as_bytes());
        if by_name.is_some() {
            return Ok(by_name);
        }
        let Some(uid) = number(user)? else {
            return Ok(None);
        };
        Ok(self.accounts().find(|known| known.uid == uid))
    }

    fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        // name:password:uid:gid:comment:home:shell
        lines(self.passwd).filter_map(|fields| {
            Some(Account {
                name: fields.first().filter(|name| !name.is_empty())?,
                uid: id(fields.get(2)?)?,
                gid: id(fields.get(3)?)?,
                home: fields.get(5).copied().unwrap_or_default(),
            })
        })
    }

    fn group(&self, group: &str) -> Result<u32, UserError> {
        // name:password:gid:members
        let by_name = lines(self.group)
            .filter(|fields| fields.first() == Some(&group.as_bytes()))
            .find_map(|fields| id(fields.get(2)?));
        match (by_name, group) {
            (Some(gid), _) => Ok(gid),
            (None, "root") => Ok(0),
            (None, group) => number(group)?.ok_or_else(|| UserError::NoSuchGroup(group.to_owned())),
        }
    }

    fn groups_of(&self, user: &[u8]) -> Vec<u32> {
        lines(self.group)
            .filter(|fields| {
                let members = fields.get(3).copied().unwrap_or_default();
                members.split(|byte| *byte == b',').any(|name| name == user)
            })
            .filter_map(|fields| id(fields.get(2)?))
            .collect()
    }
}

struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|byte| *byte == b'\n')
        .map(|line| line.trim_ascii().split(|byte| *byte == b':').collect())
}

fn id(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// `None` for what is no number.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let value = text.parse::<u64>().ok().filter(|value| *value <= MAX_ID);
    let value = value.and_then(|value| u32::try_from(value).ok());
    value
        .map(Some)
        .ok_or_else(|| UserError::OutOfRange(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        broken\n\
        app:x:1000:1001:,,,:/home/app:/bin/sh\n\
        77:x:78:79::/seven:\n\
        b\xffd:x:5:5::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nweb:x:33:app,other\naudio:x:29:app\nstaff:x:50:\n";

    #[track_caller]
    fn check(user: &str, more: &[&str], expected: &str) {
        let accounts = Accounts {
            passwd: PASSWD,
            group: GROUP,
        };
        let more: Vec<String> = more.iter().map(ToString::to_string).collect();
        let found = match accounts.resolve(user, &more) {
            Ok(found) => format!(
                "{}:{} {:?} {}",
                found.uid, found.gid, found.groups, found.home
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn users_and_groups() {
        check("", &[], "0:0 [] /root");
        check("root", &[], "0:0 [] /root");
        check("app", &[], "1000:1001 [29, 33] /home/app");
        check("1000", &[], "1000:1001 [29, 33] /home/app");
        check("app:staff", &[], "1000:50 [] /home/app");
        check("app:", &[], "1000:1001 [29, 33] /home/app");
        check("4000", &[], "4000:0 [] /");
        check("4000:4001", &["web", "7"], "4000:4001 [7, 33] /");
        check("77", &[], "78:79 [] /seven");
        check(":staff", &[], "0:50 [] /root");
    }

    #[test]
    fn what_is_not_there() {
        check("nobody", &[], "user `nobody` is not in `/etc/passwd`");
        check("app:none", &[], "group `none` is not in `/etc/group`");
        check("app", &["none"], "group `none` is not in `/etc/group`");
        let range = "`4294967296` is out of range: ids go up to 2147483647";
        check("4294967296", &[], range);
    }

    #[test]
    fn a_disk_without_the_files_has_root() {
        let accounts = Accounts {
            passwd: b"",
            group: b"",
        };
        let root = accounts.resolve("root:root", &[]).unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/"));
    }
}
