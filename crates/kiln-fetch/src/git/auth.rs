//! What authorises access to a repository.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_base::Secret;
use kiln_dockerfile::gitref::{GitRemote, GitScheme};

/// The secret with the value of an `Authorization` header.
const HEADER_SECRET: &str = "GIT_AUTH_HEADER";
/// The secret with a token.
const TOKEN_SECRET: &str = "GIT_AUTH_TOKEN";

/// What authorises access to a repository.
#[derive(Debug, Clone, Default)]
pub struct GitAuth {
    /// For HTTP and HTTPS. It is sent to the repository asked for, below its address; one at
    /// `https://github.com/` to all of that host, submodules included, as BuildKit does.
    pub credential: Option<GitCredential>,
    /// The socket of an SSH agent. Without one there is no key: those of the user are not used.
    pub ssh_agent: Option<PathBuf>,
    /// How an SSH server proves who it is.
    pub known_hosts: KnownHosts,
}

/// A credential for HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitCredential {
    /// A token, sent as the password of the user `x-access-token`.
    Token(Secret<String>),
    /// The value of the `Authorization` header.
    Header(Secret<String>),
}

/// How an SSH server proves who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KnownHosts {
    /// By a file in the format of `known_hosts`; servers that are not in it are refused.
    File(PathBuf),
    /// Not at all: any key is accepted. This is what BuildKit does without known hosts.
    #[default]
    AcceptAny,
}

/// A secret that can't be a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret `{0}` is not one line of text, so it can't be sent as a credential")]
pub struct SecretError(pub String);

/// Looks for the secret that authorises access to `remote`, by the names BuildKit gives them:
/// `GIT_AUTH_HEADER.<host>`, `GIT_AUTH_TOKEN.<host>`, `GIT_AUTH_HEADER`, `GIT_AUTH_TOKEN`; the host
/// with its port where the address has one. A line break at the end is not part of a secret.
pub fn find_credential<'a>(
    remote: &GitRemote,
    lookup: &dyn Fn(&str) -> Option<&'a Secret<Vec<u8>>>,
) -> Result<Option<GitCredential>, SecretError> {
    let host = remote.host_and_port();
    let names = [
        (format!("{HEADER_SECRET}.{host}"), false),
        (format!("{TOKEN_SECRET}.{host}"), true),
        (HEADER_SECRET.to_owned(), false),
        (TOKEN_SECRET.to_owned(), true),
    ];
    for (name, is_token) in names {
        let Some(secret) = lookup(&name) else {
            continue;
        };
        let value = line(secret).ok_or(SecretError(name))?;
        return Ok(Some(if is_token {
            GitCredential::Token(value)
        } else {
            GitCredential::Header(value)
        }));
    }
    Ok(None)
}

/// A secret as one line of text.
pub(crate) fn line(secret: &Secret<Vec<u8>>) -> Option<Secret<String>> {
    let text = std::str::from_utf8(secret.expose()).ok()?;
    let text = text.trim_end_matches(['\n', '\r']);
    let is_line = !text.is_empty() && !text.contains(|c: char| c.is_control());
    is_line.then(|| Secret::new(text.to_owned()))
}

/// The header that git is to send to the addresses that begin with `scope`.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) scope: String,
    /// `Authorization: …`.
    pub(crate) line: Secret<String>,
}

/// The headers that access to `remote` needs: from the credential for `root`, and from a user name
/// and password in the address itself. Where both say something for the same address, the first.
pub(crate) fn headers(auth: &GitAuth, root: &GitRemote, remote: &GitRemote) -> Vec<Header> {
    let mut headers = Vec::new();
    if is_http(root)
        && let Some(credential) = &auth.credential
    {
        headers.push(Header {
            scope: scope(root),
            line: authorization(credential),
        });
    }
    if is_http(remote)
        && let Some((name, password)) = remote.credentials()
    {
        let address = remote.without_credentials();
        if !headers.iter().any(|known| covers(&known.scope, &address)) {
            let pair = format!("{name}:{}", password.unwrap_or_default());
            headers.push(Header {
                scope: address,
                line: basic(&pair),
            });
        }
    }
    headers
}

/// Whether git sends the header of `scope` to `address`.
fn covers(scope: &str, address: &str) -> bool {
    let rest = address.strip_prefix(scope);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || scope.ends_with('/'))
}

fn is_http(remote: &GitRemote) -> bool {
    matches!(remote.scheme(), GitScheme::Http | GitScheme::Https)
}

/// A token for one repository of GitHub is usually one for its submodules, too.
fn scope(root: &GitRemote) -> String {
    let address = root.without_credentials();
    ["https://github.com/", "https://www.github.com/"]
        .into_iter()
        .find(|prefix| address.starts_with(prefix))
        .map_or(address.clone(), str::to_owned)
}

fn authorization(credential: &GitCredential) -> Secret<String> {
    match credential {
        GitCredential::Token(token) => basic(&format!("x-access-token:{}", token.expose())),
        GitCredential::Header(value) => Secret::new(format!("Authorization: {}", value.expose())),
    }
}

fn basic(pair: &str) -> Secret<String> {
    Secret::new(format!("Authorization: basic {}", STANDARD.encode(pair)))
}

/// The command that git starts for SSH, for its shell: nothing of the user's configuration, no
/// keys but the agent's, no questions, and connections that notice that the other side is gone.
/// `None` where the path of the known hosts can't be written into it.
pub(crate) fn ssh_command(auth: &GitAuth) -> Option<String> {
    let mut command = "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none \
        -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
        .to_owned();
    if auth.ssh_agent.is_none() {
        command.push_str(" -o IdentityAgent=none");
    }
    match &auth.known_hosts {
        KnownHosts::AcceptAny => command.push_str(
            " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        ),
        KnownHosts::File(path) => {
            let path = path.to_str()?;
            // Quoted for ssh, which splits at blanks and expands `%` and `${`, then for the shell.
            if path.contains(['"', '\\', '$', '\n', '\'']) {
                return None;
            }
            let path = path.replace('%', "%%");
            command.push_str(" -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null");
            command.push_str(" -o 'UserKnownHostsFile=\"");
            command.push_str(&path);
            command.push_str("\"'");
        }
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use kiln_dockerfile::gitref::GitRef;

    use super::*;

    fn remote(text: &str) -> GitRemote {
        GitRef::parse(text).unwrap().unwrap().remote
    }

    fn found(address: &str, secrets: &[(&str, &str)]) -> String {
        let secrets: Vec<(&str, Secret<Vec<u8>>)> = secrets
            .iter()
            .map(|(name, value)| (*name, Secret::new(value.as_bytes().to_vec())))
            .collect();
        let lookup = |name: &str| {
            let found = secrets.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value)
        };
        match find_credential(&remote(address), &lookup) {
            Ok(None) => "none".to_owned(),
            Ok(Some(GitCredential::Token(token))) => format!("token {}", token.expose()),
            Ok(Some(GitCredential::Header(value))) => format!("header {}", value.expose()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_secret_for_the_host_comes_first() {
        let address = "https://git.example.com:8443/t.git";
        let all = [
            ("GIT_AUTH_TOKEN", "4"),
            ("GIT_AUTH_HEADER", "3"),
            ("GIT_AUTH_TOKEN.git.example.com:8443", "2"),
            ("GIT_AUTH_HEADER.git.example.com:8443", "1\n"),
        ];
        let found: Vec<String> = (0..=4).map(|n| found(address, &all[..n])).collect();
        assert_eq!(
            found,
            ["none", "token 4", "header 3", "token 2", "header 1"]
        );
    }

    #[test]
    fn a_secret_of_several_lines_is_refused() {
        let message = found("https://example.com/t.git", &[("GIT_AUTH_TOKEN", "a\nb")]);
        assert_eq!(
            message,
            "secret `GIT_AUTH_TOKEN` is not one line of text, so it can't be sent as a credential"
        );
    }

    #[track_caller]
    fn check_headers(credential: Option<&str>, root: &str, other: &str, expected: &[&str]) {
        let auth = GitAuth {
            credential: credential.map(|value| GitCredential::Header(Secret::new(value.into()))),
            ..GitAuth::default()
        };
        let headers = headers(&auth, &remote(root), &remote(other));
        let headers: Vec<String> = headers
            .iter()
            .map(|header| format!("{} {}", header.scope, header.line.expose()))
            .collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn credentials_are_sent_to_what_they_are_for() {
        let t = "https://example.com/t.git";
        check_headers(None, t, t, &[]);
        check_headers(
            Some("x"),
            t,
            t,
            &["https://example.com/t.git Authorization: x"],
        );
        check_headers(Some("x"), "git@example.com:t", "git@example.com:t", &[]);
        let hub = "https://github.com/a/t.git";
        check_headers(
            Some("x"),
            hub,
            hub,
            &["https://github.com/ Authorization: x"],
        );
        // `a:b` and `a:`.
        let with_user = "https://a:b@example.com/u.git";
        let own = "https://example.com/u.git Authorization: basic YTpi";
        check_headers(None, with_user, with_user, &[own]);
        let both = ["https://example.com/t.git Authorization: x", own];
        check_headers(Some("x"), t, with_user, &both);
        let name_only = "https://a@example.com/u.git";
        let own = "https://example.com/u.git Authorization: basic YTo=";
        check_headers(None, name_only, name_only, &[own]);
        // A secret wins over what is in the address.
        let secret = "https://example.com/u.git Authorization: x";
        check_headers(Some("x"), name_only, name_only, &[secret]);
    }

    #[test]
    fn a_token_is_a_password() {
        let token = GitCredential::Token(Secret::new("s3cret".to_owned()));
        let header = authorization(&token);
        assert_eq!(
            header.expose(),
            "Authorization: basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"
        );
        assert!(!format!("{token:?} {header:?}").contains("s3cret"));
    }

    #[test]
    fn ssh_is_told_everything() {
        let mut auth = GitAuth::default();
        let base = "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none \
            -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";
        assert_eq!(
            ssh_command(&auth).unwrap(),
            format!(
                "{base} -o IdentityAgent=none -o StrictHostKeyChecking=no \
                 -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
            )
        );
        auth.ssh_agent = Some("/run/agent".into());
        auth.known_hosts = KnownHosts::File("/a b/100%".into());
        assert_eq!(
            ssh_command(&auth).unwrap(),
            format!(
                "{base} -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null \
                 -o 'UserKnownHostsFile=\"/a b/100%%\"'"
            )
        );
        auth.known_hosts = KnownHosts::File("/a'; reboot'".into());
        assert_eq!(ssh_command(&auth), None);
    }
}
