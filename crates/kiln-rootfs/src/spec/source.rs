//! What a configuration makes a disk of: an image, a git repository or an archive.

use std::collections::BTreeMap;

use kiln_base::Secret;

use super::SpecError;
use super::object::Object;

/// What a disk is made from.
#[derive(Debug)]
pub enum Source {
    /// An image.
    Image {
        /// Its name.
        name: String,
        /// Who fetches it.
        auth: Option<ImageAuth>,
    },
    /// A git repository with a Dockerfile.
    Git(GitSource),
    /// An archive with a Dockerfile.
    Archive(ArchiveSource),
}

/// Credentials for a registry.
#[derive(Debug)]
pub struct ImageAuth {
    /// The registry that they are for; the image's own where it is `None`.
    pub registry: Option<String>,
    /// The user; a token may have none.
    pub username: Option<String>,
    /// The password, or a token that stands for it.
    pub password: Secret<String>,
}

/// A git repository with a Dockerfile.
#[derive(Debug)]
pub struct GitSource {
    /// Its URL.
    pub url: String,
    /// A branch, tag or commit.
    pub reference: Option<String>,
    /// The directory in it that is built.
    pub context: Option<String>,
    /// The Dockerfile in that directory.
    pub dockerfile: Option<String>,
    /// Who fetches it.
    pub auth: Option<GitAuth>,
    /// Build arguments.
    pub build_args: BTreeMap<String, String>,
}

/// Credentials for a git server.
#[derive(Debug)]
pub enum GitAuth {
    /// A token.
    Token(Secret<String>),
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret<String>,
    },
}

/// An archive with a Dockerfile.
#[derive(Debug)]
pub struct ArchiveSource {
    /// Its URL.
    pub url: String,
    /// The value of the `Authorization` header that fetches it.
    pub authorization: Option<Secret<String>>,
}

pub(super) fn source(config: &mut Object<'_>) -> Result<Source, SpecError> {
    let mut source = config.need_object("source")?;
    let image = source.object(&["docker_image"])?;
    let git = source.object(&["git_repository"])?;
    let archive = source.object(&["archive"])?;
    let all = [&image, &git, &archive].into_iter().flatten();
    let paths: Vec<&str> = all.map(Object::path).collect();
    if let [one, other, ..] = *paths {
        return Err(SpecError::Both(one.to_owned(), other.to_owned()));
    }
    let found = match (image, git, archive) {
        (Some(image), _, _) => docker_image(image)?,
        (None, Some(git), _) => git_repository(git)?,
        (None, None, Some(archive)) => self::archive(archive)?,
        (None, None, None) => {
            return Err(SpecError::Missing(format!(
                "{}.docker_image",
                source.path()
            )));
        }
    };
    source.finish()?;
    Ok(found)
}

fn docker_image(mut image: Object<'_>) -> Result<Source, SpecError> {
    let name = image.need_text("image_uri")?;
    let path = image.path().to_owned();
    let auth = match image.object(&["registry_auth", "auth"])? {
        None => None,
        Some(auth) => image_auth(auth)?,
    };
    if !image.texts(&["pull_tags"])?.is_empty() {
        return Err(SpecError::Unsupported {
            path: format!("{path}.pull_tags"),
            why: "a disk is made from one image, which `image_uri` names with its tag",
        });
    }
    image.finish()?;
    Ok(Source::Image { name, auth })
}

fn image_auth(mut auth: Object<'_>) -> Result<Option<ImageAuth>, SpecError> {
    let registry = auth.given_text("registry")?;
    let Proof {
        username,
        password,
        token,
    } = Proof::take(&mut auth)?;
    let place = auth.path().to_owned();
    auth.finish()?;
    let (username, password) = match (username, password, token) {
        (None, None, None) if registry.is_none() => return Ok(None),
        (None, Some(_), _) => return Err(SpecError::Missing(format!("{place}.username"))),
        (_, None, None) => return Err(SpecError::Missing(format!("{place}.password"))),
        (username, Some(secret), _) | (username, None, Some(secret)) => (username, secret),
    };
    Ok(Some(ImageAuth {
        registry,
        username,
        password: Secret::new(password),
    }))
}

/// What credentials of all kinds have; what is empty is not there.
struct Proof {
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

impl Proof {
    fn take(auth: &mut Object<'_>) -> Result<Self, SpecError> {
        let found = Self {
            username: auth.given_text("username")?,
            password: auth.given_text("password")?,
            token: auth.given_text("token")?,
        };
        if found.password.is_some() && found.token.is_some() {
            let place = auth.path();
            let token = format!("{place}.token");
            return Err(SpecError::Both(format!("{place}.password"), token));
        }
        Ok(found)
    }
}

fn git_repository(mut git: Object<'_>) -> Result<Source, SpecError> {
    let url = git.text(&["clone_url", "repository_url"])?;
    let url = url.filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| SpecError::Missing(format!("{}.clone_url", git.path())))?;
    let reference = git.given_text("ref")?;
    let context = git.given_text("build_context")?;
    let dockerfile = git.given_text("dockerfile_path")?;
    let auth = match git.object(&["auth"])? {
        None => None,
        Some(auth) => git_auth(auth)?,
    };
    git.finish()?;
    Ok(Source::Git(GitSource {
        url,
        reference,
        context,
        dockerfile,
        auth,
        build_args: BTreeMap::new(),
    }))
}

fn git_auth(mut auth: Object<'_>) -> Result<Option<GitAuth>, SpecError> {
    if auth.given_text("ssh_key")?.is_some() {
        return Err(SpecError::Unsupported {
            path: format!("{}.ssh_key", auth.path()),
            why: "keys stay in an agent: leave it out, and name the agent by `--ssh default`",
        });
    }
    let Proof {
        username,
        password,
        token,
    } = Proof::take(&mut auth)?;
    let place = auth.path().to_owned();
    auth.finish()?;
    Ok(match (username, password, token) {
        (None, None, None) => None,
        (None, None, Some(token)) => Some(GitAuth::Token(Secret::new(token))),
        (Some(user), Some(secret), _) | (Some(user), None, Some(secret)) => {
            let password = Secret::new(secret);
            Some(GitAuth::Password { user, password })
        }
        (Some(_), None, None) => return Err(SpecError::Missing(format!("{place}.password"))),
        (None, Some(_), _) => return Err(SpecError::Missing(format!("{place}.username"))),
    })
}

fn archive(mut archive: Object<'_>) -> Result<Source, SpecError> {
    let place = archive.path().to_owned();
    let url = archive.text(&["download_url", "archive_url"])?;
    let url = url.filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| SpecError::Missing(format!("{place}.download_url")))?;
    // What it is its first bytes say.
    archive.word(
        &["format", "archive_type"],
        "tar, tar.gz, tar.xz, tar.bz2, tar.zst",
        |word| {
            let known = [
                "", "tar", "tar.gz", "tgz", "tar.xz", "txz", "tar.bz2", "tar.zst",
            ];
            known
                .contains(&word.to_ascii_lowercase().trim_start_matches('.'))
                .then_some(())
        },
    )?;
    if archive
        .given_text("build_context")?
        .is_some_and(|path| path != ".")
    {
        return Err(SpecError::Unsupported {
            path: format!("{place}.build_context"),
            why: "an archive is built as a whole",
        });
    }
    let mut authorization = None;
    for (name, value) in archive.texts_by_name(&["auth_headers"])? {
        if !name.eq_ignore_ascii_case("authorization") {
            return Err(SpecError::Unsupported {
                path: format!("{place}.auth_headers.{name}"),
                why: "`Authorization` is the only header that is sent",
            });
        }
        authorization = Some(Secret::new(value));
    }
    archive.finish()?;
    Ok(Source::Archive(ArchiveSource { url, authorization }))
}
