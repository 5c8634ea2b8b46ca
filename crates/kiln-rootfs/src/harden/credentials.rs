//! Files that hold what a user proves himself with.
//!
//! Files that are nothing but credentials go. Of files that configure something and may also hold a
//! token, only the secret goes, since the program may want the rest.

use super::{Deed, HardenRule};

/// What a file has to hold to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Docker's configuration: credentials of registries.
    DockerAuths,
    /// A private key.
    PrivateKey,
    /// A password in XML, as Maven's.
    XmlPassword,
    /// A password in an option file, as of `MySQL`.
    Password,
}

/// What is taken out of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    /// Lines of npm's and yarn's configuration with tokens.
    NpmTokens,
    /// `user:password@` in addresses.
    UrlPasswords,
}

/// What the rule says of a file by its place.
pub(super) fn decide(path: &[u8], name: &[u8], in_home: &[u8]) -> Option<(HardenRule, Deed)> {
    let deed = anywhere(path, name).or_else(|| of_home(in_home))?;
    Some((HardenRule::Credentials, deed))
}

fn anywhere(path: &[u8], name: &[u8]) -> Option<Deed> {
    let auth = path.strip_prefix(b"etc/apt/auth.conf.d/");
    Some(match name {
        b".netrc" | b"_netrc" | b".git-credentials" | b".pypirc" | b".pgpass" | b".vault-token"
        | b".s3cfg" => Deed::Remove,
        b".npmrc" | b".yarnrc.yml" => Deed::Edit(Edit::NpmTokens),
        b"pip.conf" => Deed::Edit(Edit::UrlPasswords),
        _ if path == b"etc/apt/auth.conf" || auth.is_some_and(|name| name.ends_with(b".conf")) => {
            Deed::Remove
        }
        _ if path == b"etc/npmrc" || path == b"usr/local/etc/npmrc" => Deed::Edit(Edit::NpmTokens),
        _ if path.ends_with(b".git/config") => Deed::Edit(Edit::UrlPasswords),
        _ => return None,
    })
}

fn of_home(path: &[u8]) -> Option<Deed> {
    let is_key = |name: &[u8]| name.starts_with(b"id_") && !name.ends_with(b".pub");
    Some(match path {
        b".docker/config.json" | b".config/containers/auth.json" | b".dockercfg" => {
            Deed::RemoveIf(Holds::DockerAuths)
        }
        b".aws/credentials"
        | b".config/git/credentials"
        | b".config/gh/hosts.yml"
        | b".config/gcloud/credentials.db"
        | b".config/gcloud/access_tokens.db"
        | b".config/gcloud/application_default_credentials.json"
        | b".config/rclone/rclone.conf"
        | b".config/doctl/config.yaml"
        | b".config/composer/auth.json"
        | b".composer/auth.json"
        | b".azure/accessTokens.json"
        | b".azure/msal_token_cache.json"
        | b".azure/msal_token_cache.bin"
        | b".azure/service_principal_entries.json"
        | b".kube/config"
        | b".gem/credentials"
        | b".cargo/credentials"
        | b".cargo/credentials.toml"
        | b".terraform.d/credentials.tfrc.json"
        | b".terraformrc"
        | b".boto"
        | b".databrickscfg" => Deed::Remove,
        b".my.cnf" | b".mylogin.cnf" => Deed::RemoveIf(Holds::Password),
        b".m2/settings.xml" => Deed::RemoveIf(Holds::XmlPassword),
        b".pip/pip.conf" | b".config/pip/pip.conf" | b".gitconfig" => {
            Deed::Edit(Edit::UrlPasswords)
        }
        _ => match path.strip_prefix(b".ssh/") {
            Some(name) if is_key(name) => Deed::Remove,
            Some(name) if name.ends_with(b".pem") => Deed::RemoveIf(Holds::PrivateKey),
            _ => return None,
        },
    })
}

/// Directories of nothing else.
pub(super) fn is_directory_of_them(path: &[u8], in_home: &[u8]) -> bool {
    let folders = [
        &b".config/gcloud/legacy_credentials"[..],
        b".aws/sso/cache",
        b".aws/cli/cache",
        b".subversion/auth",
    ];
    path.len() > 1 && folders.contains(&in_home)
}

impl Holds {
    pub(super) fn is_in(self, bytes: &[u8]) -> bool {
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        match self {
            Self::DockerAuths => {
                let json: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
                let auths = json
                    .as_ref()
                    .and_then(|json| json.get("auths").or(Some(json)));
                let entries = auths.and_then(serde_json::Value::as_object);
                entries.is_some_and(|entries| {
                    let secrets = ["auth", "password", "identitytoken", "registrytoken"];
                    let mut values = entries.values();
                    values.any(|entry| secrets.iter().any(|secret| entry.get(secret).is_some()))
                })
            }
            Self::PrivateKey => has(b"PRIVATE KEY-----"),
            Self::XmlPassword => has(b"<password>") || has(b"<passphrase>"),
            Self::Password => has(b"password") || bytes.first().is_some_and(|byte| *byte == 0),
        }
    }
}

impl Edit {
    /// The file without secrets; `None` if it has none.
    pub(super) fn apply(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match self {
                Self::NpmTokens if is_token(line) => {}
                Self::NpmTokens => out.extend_from_slice(line),
                Self::UrlPasswords => push_without_password(&mut out, line),
            }
        }
        (out != bytes).then_some(out)
    }
}

/// `//registry/:_authToken=…`, `_auth = …`, `npmAuthToken: …`; one that a variable fills is no
/// secret.
fn is_token(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    let Some((key, value)) = line.split_once('=').or_else(|| line.split_once(": ")) else {
        return false;
    };
    let key = key.trim().rsplit(':').next().unwrap_or_default();
    let names = [
        "_authToken",
        "_auth",
        "_password",
        "npmAuthToken",
        "npmAuthIdent",
    ];
    names.contains(&key) && !value.trim().trim_matches('"').starts_with("${")
}

/// Copies a line without what is between `://` and `@` of an address, if a password is in it.
fn push_without_password(out: &mut Vec<u8>, mut line: &[u8]) {
    while let Some(at) = line.windows(3).position(|part| part == b"://") {
        let (before, rest) = line.split_at(at + 3);
        out.extend_from_slice(before);
        let end = rest
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'"' | b'\''));
        let (authority, after) = rest.split_at(end.unwrap_or(rest.len()));
        let user = authority.iter().rposition(|byte| *byte == b'@');
        match user.filter(|user| authority[..*user].contains(&b':')) {
            // A variable that pip fills in is no secret.
            Some(user) if !authority[..user].starts_with(b"${") => {
                out.extend_from_slice(&authority[user + 1..]);
            }
            _ => out.extend_from_slice(authority),
        }
        line = after;
    }
    out.extend_from_slice(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edit: Edit, text: &str, expected: &str) {
        let edited = edit.apply(text.as_bytes());
        let edited = edited.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(edited.as_deref().unwrap_or("as it was"), expected);
    }

    #[test]
    fn only_secrets_go() {
        check(
            Edit::NpmTokens,
            "registry=https://r/\n//r/:_authToken=npm_x\n//s/:_authToken=${T}\n",
            "registry=https://r/\n//s/:_authToken=${T}\n",
        );
        check(Edit::NpmTokens, "save-exact=true\n", "as it was");
        check(Edit::NpmTokens, "npmAuthToken: \"x\"\n", "");
        check(
            Edit::UrlPasswords,
            "[global]\nindex-url = https://me:pw@host/simple\nextra = https://other/\n",
            "[global]\nindex-url = https://host/simple\nextra = https://other/\n",
        );
        check(
            Edit::UrlPasswords,
            "url = https://git@host/x\n",
            "as it was",
        );
        check(
            Edit::UrlPasswords,
            "url = https://${U}:${P}@host/x",
            "as it was",
        );
        check(Edit::UrlPasswords, "a://b:c@d", "a://d");
    }

    #[test]
    fn what_holds_nothing_is_left() {
        let docker = |text: &str| Holds::DockerAuths.is_in(text.as_bytes());
        assert!(docker(r#"{"auths":{"r":{"auth":"eDp5"}}}"#));
        assert!(docker(r#"{"r":{"auth":"eDp5"}}"#));
        assert!(!docker(r#"{"auths":{"r":{}},"credsStore":"x"}"#));
        assert!(!docker("["));
    }
}
