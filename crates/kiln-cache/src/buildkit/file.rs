//! `COPY`, `ADD` and `WORKDIR` as BuildKit has them: `buildkit.file.v0`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kiln_oci::Digest;
use serde::Serialize;

use super::json::{self, is_false, is_zero, number};

/// A step that changes files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOp {
    /// The input that it stands on; `None` for `scratch`.
    pub base: Option<usize>,
    /// How many inputs there are, each once.
    pub inputs: usize,
    /// What is done, one after the other.
    pub actions: Vec<FileAction>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileAction {
    /// A source of a `COPY`.
    Copy(CopyAction),
    /// A `WORKDIR`.
    Mkdir(MkdirAction),
    /// A heredoc, as a file of a root of its own, from where it is copied.
    Mkfile(MkfileAction),
    /// The directory `/cache` of a root of its own: what `RUN --mount=type=cache` begins with where
    /// its owner or mode is given.
    CacheDirectory {
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Permissions.
        mode: u32,
    },
}

/// A source of a `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyAction {
    /// Which input it is from.
    pub from: usize,
    /// The source, absolute in its input, cleaned.
    pub src: String,
    /// The destination, absolute and cleaned; with the slash or `/.` that it ends with.
    pub dest: String,
    /// `--chown`.
    pub owner: Option<Owner>,
    /// `--chmod` in octal.
    pub mode: Option<u32>,
    /// `--chmod` in letters; empty where there is none.
    pub mode_text: String,
    /// `ADD` of an archive.
    pub unpack: bool,
    /// Whether it is from a context or a stage, and not a heredoc or a download: links are
    /// followed, and the source may be a pattern.
    pub is_selection: bool,
}

/// A `WORKDIR`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MkdirAction {
    /// The directory, absolute and cleaned.
    pub path: String,
    /// `USER`.
    pub owner: Option<Owner>,
    /// `SOURCE_DATE_EPOCH` in nanoseconds.
    pub timestamp: Option<i64>,
}

/// A heredoc's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MkfileAction {
    /// A slash and the heredoc's name.
    pub path: String,
    /// 0644 in a `COPY`, 0755 in a `RUN`.
    pub mode: u32,
    /// Its content.
    pub data: Vec<u8>,
}

/// Who files are given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The user.
    pub user: Option<UserName>,
    /// The group.
    pub group: Option<UserName>,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserName {
    /// By its number.
    Id(u32),
    /// By its name in the root that the step stands on.
    Name(String),
}

#[derive(Serialize)]
struct DefinitionWire {
    #[serde(rename = "Type")]
    kind: &'static str,
    /// Each a document of its own, in Base64.
    #[serde(rename = "Actions")]
    actions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    indexes: Option<Vec<[i64; 3]>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the document's form")]
struct CopyWire<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    src: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    dest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<OwnerWire<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    mode: i64,
    #[serde(skip_serializing_if = "is_false")]
    follow_symlink: bool,
    #[serde(skip_serializing_if = "is_false")]
    dir_copy_contents: bool,
    #[serde(skip_serializing_if = "is_false")]
    attempt_unpack_docker_compatibility: bool,
    create_dest_path: bool,
    #[serde(skip_serializing_if = "is_false")]
    allow_wildcard: bool,
    #[serde(skip_serializing_if = "is_false")]
    allow_empty_wildcard: bool,
    timestamp: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    mode_str: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MkdirWire<'a> {
    path: &'a str,
    mode: i64,
    #[serde(skip_serializing_if = "is_false")]
    make_parents: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<OwnerWire<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    timestamp: i64,
}

#[derive(Serialize)]
struct MkfileWire<'a> {
    path: &'a str,
    mode: i64,
    /// Base64.
    #[serde(skip_serializing_if = "String::is_empty")]
    data: String,
    timestamp: i64,
}

#[derive(Serialize)]
struct OwnerWire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<UserWire<'a>>,
}

#[derive(Serialize)]
struct UserWire<'a> {
    #[serde(rename = "User")]
    user: UserKindWire<'a>,
}

#[derive(Serialize)]
struct UserKindWire<'a> {
    #[serde(rename = "byName", skip_serializing_if = "Option::is_none")]
    name: Option<NameWire<'a>>,
    #[serde(rename = "byId", skip_serializing_if = "is_zero")]
    id: i64,
    #[serde(rename = "byID", skip_serializing_if = "is_zero")]
    old_id: i64,
}

#[derive(Serialize)]
struct NameWire<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<i64>,
}

/// How owners are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    New,
    /// As in Docker 20.10, whose documents another library printed.
    Old,
}

/// The digests of a definition, one for each way of printing it. A version that did not yet count
/// which action takes which input is not told apart from one that does: where that matters, its
/// results are not found.
pub(super) fn digests(file: &FileOp) -> Vec<Digest> {
    let digest = |version: Version| {
        let actions = file.actions.iter();
        let actions = actions.map(|action| action_text(action, (file.base, version)));
        json::digest(&DefinitionWire {
            kind: "buildkit.file.v0",
            actions: actions.map(|text| BASE64_STANDARD.encode(text)).collect(),
            indexes: indexes(file),
        })
    };
    let mut digests = [Version::New, Version::Old].map(digest).to_vec();
    digests.dedup();
    digests
}

fn action_text(action: &FileAction, base: (Option<usize>, Version)) -> String {
    match action {
        FileAction::Copy(copy) => json::print(&CopyWire {
            // The rest of the path is in the selector.
            src: copy
                .src
                .rsplit('/')
                .find(|part| !part.is_empty())
                .unwrap_or("/"),
            dest: &copy.dest,
            owner: copy.owner.as_ref().map(|owner| owner_wire(owner, base)),
            mode: match copy.mode {
                Some(mode) => i64::from(mode),
                None if copy.mode_text.is_empty() => -1,
                None => 0,
            },
            follow_symlink: copy.is_selection,
            dir_copy_contents: copy.is_selection,
            attempt_unpack_docker_compatibility: copy.unpack,
            create_dest_path: true,
            allow_wildcard: copy.is_selection,
            allow_empty_wildcard: copy.is_selection,
            timestamp: -1,
            mode_str: &copy.mode_text,
        }),
        FileAction::Mkdir(mkdir) => json::print(&MkdirWire {
            path: &mkdir.path,
            mode: 0o755,
            make_parents: true,
            owner: mkdir.owner.as_ref().map(|owner| owner_wire(owner, base)),
            timestamp: mkdir.timestamp.unwrap_or(-1),
        }),
        FileAction::CacheDirectory { uid, gid, mode } => {
            let [user, group] = [uid, gid].map(|id| Some(UserName::Id(*id)));
            let owner = Owner { user, group };
            json::print(&MkdirWire {
                path: "/cache",
                mode: i64::from(*mode),
                make_parents: false,
                owner: Some(owner_wire(&owner, base)),
                timestamp: -1,
            })
        }
        FileAction::Mkfile(mkfile) => json::print(&MkfileWire {
            path: &mkfile.path,
            mode: i64::from(mkfile.mode),
            data: BASE64_STANDARD.encode(&mkfile.data),
            timestamp: -1,
        }),
    }
}

fn owner_wire(owner: &Owner, base: (Option<usize>, Version)) -> OwnerWire<'_> {
    OwnerWire {
        user: owner.user.as_ref().map(|user| user_wire(user, base)),
        group: owner.group.as_ref().map(|group| user_wire(group, base)),
    }
}

fn user_wire(user: &UserName, (base, version): (Option<usize>, Version)) -> UserWire<'_> {
    let is_new = version == Version::New;
    let nobody = UserKindWire {
        name: None,
        id: 0,
        old_id: 0,
    };
    let input = base.map_or(-1, number);
    UserWire {
        user: match user {
            UserName::Id(id) if is_new => UserKindWire {
                id: i64::from(*id),
                ..nobody
            },
            UserName::Id(id) => UserKindWire {
                old_id: i64::from(*id),
                ..nobody
            },
            UserName::Name(name) => UserKindWire {
                name: Some(NameWire {
                    name,
                    input: (!is_new || input != 0).then_some(input),
                }),
                ..nobody
            },
        },
    }
}

/// Which inputs and results the actions take and give. BuildKit leaves out what is most common.
fn indexes(file: &FileOp) -> Option<Vec<[i64; 3]>> {
    let count = number(file.actions.len());
    let indexes: Vec<[i64; 3]> = file
        .actions
        .iter()
        .zip(0..)
        .map(|(action, at)| {
            let input = if at == 0 {
                file.base.map_or(-1, number)
            } else {
                number(file.inputs) + at - 1
            };
            let second = match action {
                FileAction::Copy(copy) => number(copy.from),
                FileAction::Mkdir(_)
                | FileAction::Mkfile(_)
                | FileAction::CacheDirectory { .. } => -1,
            };
            [input, second, if at == count - 1 { 0 } else { -1 }]
        })
        .collect();
    let is_common = indexes.iter().zip(0..).all(|(index, at): (_, i64)| {
        let expected = if at == 0 { 0 } else { count + at - 1 };
        index[0] == expected && matches!(index[1], -1 | 1)
    });
    (!is_common || indexes.is_empty()).then_some(indexes)
}
