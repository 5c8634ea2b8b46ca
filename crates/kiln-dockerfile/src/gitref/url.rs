//! Addresses as git takes them: URLs, and `user@host:path`.
//!
//! Parts are kept as they were written, so that git is asked for exactly that; only what can't be in
//! a URL is percent-encoded. A general URL library normalises, which changes what a server sees.

use super::{GitRefError, GitScheme};

/// A repository's address, taken apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) scheme: GitScheme,
    pub(super) user: Option<User>,
    /// With the port.
    pub(super) host: String,
    /// Encoded; of a URL with its leading `/`.
    pub(super) path: String,
    form: Form,
}

/// User name and password, decoded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Url,
    /// `user@host:path`.
    Scp,
}

/// What becomes of credentials when an address is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Credentials {
    Shown,
    Masked,
    Removed,
}

/// An address and what it carries besides.
pub(super) struct Parts {
    pub(super) address: Address,
    /// Decoded.
    pub(super) fragment: String,
    /// Encoded.
    pub(super) query: String,
}

const MASK: &str = "xxxxx";

impl Address {
    pub(super) fn text(&self, credentials: Credentials) -> String {
        let user = self
            .user
            .as_ref()
            .map(|user| self.user_text(user, credentials));
        let user = user.filter(|user| !user.is_empty());
        let at = if user.is_some() { "@" } else { "" };
        let user = user.unwrap_or_default();
        match self.form {
            Form::Scp => format!("{user}{at}{}:{}", self.host, self.path),
            Form::Url => {
                let scheme = scheme_name(self.scheme);
                format!("{scheme}://{user}{at}{}{}", self.host, self.path)
            }
        }
    }

    fn user_text(&self, user: &User, credentials: Credentials) -> String {
        let name = encode(&user.name, is_user_byte);
        let password = user.password.as_deref();
        // A name alone is an account over SSH, and may be a token over HTTP.
        let is_name_public = self.scheme == GitScheme::Ssh;
        match (credentials, password) {
            (Credentials::Shown, None) => name,
            (Credentials::Shown, Some(password)) => {
                format!("{name}:{}", encode(password, is_user_byte))
            }
            (Credentials::Removed, _) | (Credentials::Masked, None) if is_name_public => name,
            (Credentials::Removed, _) => String::new(),
            (Credentials::Masked, None) => MASK.to_owned(),
            (Credentials::Masked, Some(_)) if is_name_public => format!("{name}:{MASK}"),
            (Credentials::Masked, Some(_)) => format!("{MASK}:{MASK}"),
        }
    }
}

const fn scheme_name(scheme: GitScheme) -> &'static str {
    match scheme {
        GitScheme::Http => "http",
        GitScheme::Https => "https",
        GitScheme::Ssh => "ssh",
        GitScheme::Git => "git",
    }
}

/// Which HTTP addresses are repositories.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpPath {
    /// Those that end in `.git`; the others are files to download.
    EndsInGit,
    /// All of them.
    Any,
}

/// Takes an address apart; `None` for what is none, or is reached in another way than git's.
pub(super) fn split(text: &str, http: HttpPath) -> Option<Result<Parts, GitRefError>> {
    let is_url = text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if is_url {
        split_url(text, http)
    } else {
        split_scp(text)
    }
}

pub(super) fn split_url(text: &str, http: HttpPath) -> Option<Result<Parts, GitRefError>> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => GitScheme::Http,
        "https" => GitScheme::Https,
        "ssh" => GitScheme::Ssh,
        "git" => GitScheme::Git,
        _ => return None,
    };
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let is_http = matches!(scheme, GitScheme::Http | GitScheme::Https);
    if is_http && http == HttpPath::EndsInGit {
        decode(path)?.strip_suffix(".git")?;
    }
    let wrong = |reason| {
        // A password that should have been encoded may reach into the path.
        let shown = rest.rsplit('@').next().unwrap_or_default();
        let scheme = scheme_name(scheme);
        GitRefError::Address {
            address: format!("{scheme}://{shown}").escape_debug().to_string(),
            reason,
        }
    };
    Some(read_url(scheme, authority, path, fragment, query).map_err(wrong))
}

fn read_url(
    scheme: GitScheme,
    authority: &str,
    path: &str,
    fragment: &str,
    query: &str,
) -> Result<Parts, &'static str> {
    if authority.contains(is_control) || path.contains(is_control) || query.contains(is_control) {
        return Err("it has a control character");
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(read_user(user)?), host),
        None => (None, authority),
    };
    check_host(host)?;
    let decoded = decode(path).ok_or("its path is not percent-encoded text")?;
    let fragment = decode(fragment).ok_or("its fragment is not percent-encoded text")?;
    let path = if path.bytes().all(|byte| is_path_byte(byte) || byte == b'%') {
        path.to_owned()
    } else {
        encode(&decoded, |byte| {
            is_path_byte(byte) && !matches!(byte, b'[' | b']')
        })
    };
    Ok(Parts {
        address: Address {
            scheme,
            user,
            host: host.to_owned(),
            path,
            form: Form::Url,
        },
        fragment,
        query: query.to_owned(),
    })
}

fn read_user(text: &str) -> Result<User, &'static str> {
    const WRONG: &str = "its user or password is not percent-encoded text";
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !text.bytes().all(is_allowed) {
        return Err(WRONG);
    }
    let (name, password) = match text.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (text, None),
    };
    let password = password.map(|text| decode(text).ok_or(WRONG)).transpose()?;
    let name = decode(name).ok_or(WRONG)?;
    if name.contains(is_control) || password.as_deref().is_some_and(|p| p.contains(is_control)) {
        return Err(WRONG);
    }
    Ok(User { name, password })
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest
                .split_once(']')
                .ok_or("`]` is missing after its host")?;
            let is_address = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b":.%-_~".contains(&byte));
            if !is_address {
                return Err("its host has a character that no host has");
            }
            (name, port)
        }
        None => host.split_at(host.rfind(':').unwrap_or(host.len())),
    };
    if name.is_empty() {
        return Err("it has no host");
    }
    // ssh would take such a host for an option.
    if name.starts_with('-') {
        return Err("its host begins with `-`");
    }
    let is_allowed = |c: char| c.is_alphanumeric() || "-._~%".contains(c);
    if !host.starts_with('[') && !name.chars().all(is_allowed) {
        return Err("its host has a character that no host has");
    }
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if is_port {
        Ok(())
    } else {
        Err("its port is not a number")
    }
}

/// `user@host:path`, then `?query` and `#fragment`.
fn split_scp(text: &str) -> Option<Result<Parts, GitRefError>> {
    let (user, rest) = text.split_once('@')?;
    let (host, rest) = rest.split_once(':')?;
    let is_word = |text: &str, extra: &[u8]| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || extra.contains(&byte);
        !text.is_empty() && text.bytes().all(is_allowed)
    };
    if !is_word(user, b"-_") || !is_word(host, b"-.") || rest.contains('\n') {
        return None;
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if user.starts_with('-') || host.starts_with('-') || path.contains(is_control) {
        return Some(Err(GitRefError::Address {
            address: format!("{user}@{host}:{path}").escape_debug().to_string(),
            reason: "it has a control character, or a user or host that begins with `-`",
        }));
    }
    Some(Ok(Parts {
        address: Address {
            scheme: GitScheme::Ssh,
            user: Some(User {
                name: user.to_owned(),
                password: None,
            }),
            host: host.to_owned(),
            path: path.to_owned(),
            form: Form::Scp,
        },
        fragment: fragment.to_owned(),
        query: query.to_owned(),
    }))
}

/// A folder inside a repository: `.` and `..` resolved without leaving it; `None` for all of it.
pub(super) fn clean(subdir: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in subdir.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn is_control(c: char) -> bool {
    c.is_ascii_control()
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/[]".contains(&byte)
}

fn is_user_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$&+,;=".contains(&byte)
}

fn encode(text: &str, is_kept: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_kept(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex(byte));
        }
    }
    encoded
}

fn hex(byte: u8) -> String {
    format!("{byte:02X}")
}

/// Percent-encoded text; `None` where it is not that.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}
