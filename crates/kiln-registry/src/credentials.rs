//! Credentials where docker, podman and Kubernetes keep them.
//!
//! All three write the same JSON: docker's `config.json`, podman's `auth.json` and the content of a
//! Kubernetes `.dockerconfigjson` secret. docker's may name helper programs; podman's keys may name
//! a part of a registry (`host/namespace`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use kiln_base::Secret;
use kiln_sys::files;
use kiln_sys::fs::FsError;
use serde::Deserialize;

use crate::helper::{self, HelperError};

/// The largest credential file that is read, in bytes.
const MAX_FILE_SIZE: u64 = 1024 * 1024;

/// The name under which docker's file and helpers know Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HUB_NAMES: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Where credentials are looked for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CredentialSource {
    /// What was given for these registries, by their hosts. It goes to no other, and for these
    /// nothing else is looked for.
    pub given: Vec<(String, Credential)>,
    /// Files of docker's form; the first that knows the registry wins. A file that is not there is
    /// passed over.
    pub files: Vec<PathBuf>,
    /// The environment of helper programs; its `PATH` is where they are looked for. Empty means
    /// that no helper is run, as for files that a tenant brings.
    pub helper_environment: Vec<(OsString, OsString)>,
}

/// Shows the names of variables only: environments hold secrets.
impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .helper_environment
            .iter()
            .map(|(name, _)| name)
            .collect();
        let given: Vec<_> = self.given.iter().map(|(host, _)| host).collect();
        f.debug_struct("CredentialSource")
            .field("given", &given)
            .field("files", &self.files)
            .field("helper_environment", &names)
            .finish()
    }
}

/// What proves who kiln acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password, or a token that stands for one.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret<String>,
    },
    /// A refresh token, which the token service exchanges.
    IdentityToken(Secret<String>),
    /// A token that goes to the registry as it is.
    RegistryToken(Secret<String>),
}

/// Why credentials could not be read. Names files and helpers, never what they hold.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file is there but can't be read.
    #[error(transparent)]
    File(#[from] FsError),
    /// The file is not of docker's form.
    #[error("the credential file `{0}` is not well-formed")]
    Form(PathBuf),
    /// A helper failed.
    #[error("the credential helper `docker-credential-{name}` failed")]
    Helper {
        /// The helper's name after the dash.
        name: String,
        /// Why.
        #[source]
        cause: HelperError,
    },
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct FileWire {
    auths: Option<BTreeMap<String, EntryWire>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
struct EntryWire {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl CredentialSource {
    /// The credential for a repository; `None` means that nobody logged in.
    pub fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let is_for = |host: &str| host_of(host) == canonical(registry);
        if let Some((_, given)) = self.given.iter().find(|(host, _)| is_for(host)) {
            return Ok(Some(given.clone()));
        }
        for path in &self.files {
            let Some(bytes) = read(path)? else { continue };
            // What a parser says about the file may quote it, so the cause is dropped.
            let file: FileWire =
                serde_json::from_slice(&bytes).map_err(|_| CredentialError::Form(path.clone()))?;
            if let Some(found) = self.find_in(&file, registry, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find_in(
        &self,
        file: &FileWire,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let helpers = file.cred_helpers.as_ref();
        let own = helpers.and_then(|helpers| {
            let is_same = |(key, _): &(&String, &String)| host_of(key) == canonical(registry);
            helpers.iter().find(is_same).map(|(_, name)| name)
        });
        let store = file.creds_store.as_ref().filter(|name| !name.is_empty());
        for name in own.into_iter().chain(store) {
            if self.helper_environment.is_empty() {
                continue;
            }
            let server = if canonical(registry) == DOCKER_HUB_NAMES[0] {
                DOCKER_HUB_KEY
            } else {
                registry
            };
            let found = helper::get(name, server, &self.helper_environment);
            let found = found.map_err(|cause| CredentialError::Helper {
                name: name.clone(),
                cause,
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        let auths = file.auths.as_ref();
        Ok(auths.and_then(|auths| best_entry(auths, registry, repository)))
    }
}

fn read(path: &std::path::Path) -> Result<Option<Vec<u8>>, CredentialError> {
    match files::read_limited(path, MAX_FILE_SIZE) {
        Ok(bytes) => Ok(Some(bytes)),
        // As docker and podman: a home directory that others own is as good as none.
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound
                    | std::io::ErrorKind::NotADirectory
                    | std::io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The entry with the longest key that covers the repository.
fn best_entry(
    auths: &BTreeMap<String, EntryWire>,
    registry: &str,
    repository: &str,
) -> Option<Credential> {
    let full = format!("{}/{repository}", canonical(registry));
    let mut fitting: Vec<(String, &EntryWire)> = auths
        .iter()
        .map(|(key, entry)| (scope_of(key), entry))
        .filter(|(key, _)| {
            full.strip_prefix(key.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
                || full == *key
        })
        .collect();
    fitting.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
    fitting
        .into_iter()
        .find_map(|(_, entry)| entry.credential())
}

/// A key without what old versions of docker put around the host: scheme and API version.
fn scope_of(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    match key.split_once('/') {
        Some((host, path)) => format!("{}/{path}", canonical(host)),
        None => canonical(key).to_owned(),
    }
}

fn host_of(key: &str) -> String {
    let scope = scope_of(key);
    scope.split('/').next().unwrap_or_default().to_owned()
}

/// Whether both are names of one registry: a host, or what docker's files have for it.
pub fn is_same_registry(one: &str, other: &str) -> bool {
    host_of(one) == host_of(other)
}

fn canonical(host: &str) -> &str {
    if DOCKER_HUB_NAMES.contains(&host) {
        DOCKER_HUB_NAMES[0]
    } else {
        host
    }
}

impl EntryWire {
    fn credential(&self) -> Option<Credential> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Some(Credential::IdentityToken(Secret::new(token)));
        }
        if let Some(token) = given(&self.registrytoken) {
            return Some(Credential::RegistryToken(Secret::new(token)));
        }
        if let (Some(user), Some(password)) = (given(&self.username), given(&self.password)) {
            return Some(Credential::Password {
                user,
                password: Secret::new(password),
            });
        }
        let auth = given(&self.auth)?;
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(auth.trim())
            .ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Credential::Password {
            user: user.to_owned(),
            // Some versions of docker padded with zero bytes.
            password: Secret::new(password.trim_end_matches('\0').to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn shown(found: Option<Credential>) -> String {
        match found {
            None => "nobody".to_owned(),
            Some(Credential::Password { user, password }) => {
                format!("{user}:{}", password.expose())
            }
            Some(Credential::IdentityToken(token)) => format!("identity {}", token.expose()),
            Some(Credential::RegistryToken(token)) => format!("registry {}", token.expose()),
        }
    }

    #[track_caller]
    fn check(file: &str, registry: &str, repository: &str, expected: &str) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.json");
        std::fs::write(&path, file).expect("written");
        let source = CredentialSource {
            given: Vec::new(),
            files: vec![directory.path().join("missing.json"), path],
            helper_environment: Vec::new(),
        };
        let found = source.find(registry, repository).expect("readable");
        assert_eq!(shown(found), expected);
    }

    #[test]
    fn what_is_given_goes_to_one_registry() {
        let password = |word: &str| Credential::Password {
            user: "g".to_owned(),
            password: Secret::new(word.to_owned()),
        };
        let source = CredentialSource {
            given: vec![
                ("https://index.docker.io/v1/".to_owned(), password("hub")),
                ("r.example:5000".to_owned(), password("own")),
            ],
            ..CredentialSource::default()
        };
        let check = |registry: &str, expected: &str| {
            assert_eq!(shown(source.find(registry, "a/b").unwrap()), expected);
        };
        check("docker.io", "g:hub");
        check("r.example:5000", "g:own");
        for other in [
            "r.example",
            "r.example:5001",
            "example:5000",
            "x.r.example:5000",
        ] {
            check(other, "nobody");
        }
        let debug = format!("{source:?}");
        assert!(
            !debug.contains("own") && debug.contains("r.example:5000"),
            "{debug}"
        );
    }

    #[test]
    fn docker_hub_has_many_names() {
        // u:p
        let file = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#;
        check(file, "docker.io", "library/debian", "u:p");
        check(file, "quay.io", "a/b", "nobody");
        let file = r#"{"auths":{"docker.io":{"auth":"dTpw"}}}"#;
        check(file, "docker.io", "library/debian", "u:p");
    }

    #[test]
    fn the_longest_podman_key_wins() {
        let file = r#"{"auths":{
            "r.example":{"username":"host","password":"1"},
            "r.example/team":{"username":"team","password":"2"},
            "r.example/team/app":{"username":"app","password":"3"}}}"#;
        check(file, "r.example", "team/app", "app:3");
        check(file, "r.example", "team/application", "team:2");
        check(file, "r.example", "teams/x", "host:1");
        check(file, "r.example:5000", "team/app", "nobody");
    }

    #[test]
    fn tokens_are_told_apart() {
        let file = r#"{"auths":{"a.b":{"auth":"PHRva2VuPjo=","identitytoken":"i"},
            "c.d":{"registrytoken":"r"},"e.f":{}}}"#;
        check(file, "a.b", "x", "identity i");
        check(file, "c.d", "x", "registry r");
        check(file, "e.f", "x", "nobody");
    }

    #[test]
    fn helpers_are_asked_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("docker-credential-test");
        let script = "#!/bin/sh\nread -r server\ncase $server in\nr.example) echo '{\"Username\":\"h\",\"Secret\":\"s\"}';;\n*) echo 'credentials not found in native keychain'; exit 1;;\nesac\n";
        std::fs::write(&program, script).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
        let path = directory.path().join("config.json");
        let file = r#"{"credsStore":"test","auths":{"r.example":{"auth":"dTpw"},"q.example":{"auth":"dTpw"}}}"#;
        std::fs::write(&path, file).expect("written");
        let mut search = directory.path().as_os_str().to_owned();
        search.push(":/usr/bin:/bin");
        let source = CredentialSource {
            given: Vec::new(),
            files: vec![path],
            helper_environment: vec![("PATH".into(), search)],
        };
        let found = |registry: &str| shown(source.find(registry, "x").expect("readable"));
        assert_eq!(found("r.example"), "h:s");
        assert_eq!(found("q.example"), "u:p");
        assert_eq!(found("none.example"), "nobody");
        let untrusted = CredentialSource {
            helper_environment: Vec::new(),
            ..source
        };
        let found = untrusted.find("r.example", "x").expect("readable");
        assert_eq!(shown(found), "u:p");
    }

    #[test]
    fn errors_and_debug_show_no_secret() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.json");
        std::fs::write(&path, r#"{"auths":{"a.b":{"auth":hunter2}}}"#).expect("written");
        let source = CredentialSource {
            given: Vec::new(),
            files: vec![path],
            helper_environment: Vec::new(),
        };
        let error = source.find("a.b", "x").expect_err("bad JSON");
        assert!(!format!("{error:?}").contains("hunter2"));
        let source = CredentialSource {
            helper_environment: vec![("TOKEN".into(), "hunter2".into())],
            ..source
        };
        assert!(!format!("{source:?}").contains("hunter2"));
        let credential = Credential::IdentityToken(Secret::new("hunter2".to_owned()));
        assert!(!format!("{credential:?}").contains("hunter2"));
    }
}
