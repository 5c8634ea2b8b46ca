//! Where things are: the store, the configuration, registry credentials, sockets.

use std::path::{Path, PathBuf};

use super::env::{self, Environment};

/// The system's configuration.
const SYSTEM_CONFIG: &str = "/etc/kiln/config.toml";
/// Where root's images are.
const SYSTEM_ROOT: &str = "/var/lib/kiln";

/// The store's directory where nobody names one; `None` for a user without a home.
pub(super) fn default_root(environment: &Environment) -> Option<PathBuf> {
    if environment.is_root {
        return Some(SYSTEM_ROOT.into());
    }
    match environment.absolute(&env::XDG_DATA_HOME) {
        Some(data) => Some(data.join("kiln")),
        None => Some(environment.home()?.join(".local/share/kiln")),
    }
}

/// Configuration files that are read if they exist, the weakest first.
pub(super) fn config_files(environment: &Environment) -> Vec<PathBuf> {
    let user = match environment.absolute(&env::XDG_CONFIG_HOME) {
        Some(config) => Some(config.to_owned()),
        None => environment.home().map(|home| home.join(".config")),
    };
    let user = user.map(|config| config.join("kiln/config.toml"));
    [Some(SYSTEM_CONFIG.into()), user]
        .into_iter()
        .flatten()
        .collect()
}

/// Files that may hold registry credentials, the first that knows a registry wins.
///
/// podman's and docker's places, then the places where Kubernetes mounts an image pull secret.
pub(crate) fn credential_files(environment: &Environment) -> Vec<PathBuf> {
    let docker = match environment.get(&env::DOCKER_CONFIG) {
        Some(directory) => Some(environment.resolve(Path::new(directory))),
        None => environment.home().map(|home| home.join(".docker")),
    };
    let config = match environment.absolute(&env::XDG_CONFIG_HOME) {
        Some(config) => Some(config.to_owned()),
        None => environment.home().map(|home| home.join(".config")),
    };
    let named = environment.get(&env::REGISTRY_AUTH_FILE);
    [
        named.map(|file| environment.resolve(Path::new(file))),
        docker.map(|directory| directory.join("config.json")),
        environment
            .absolute(&env::XDG_RUNTIME_DIR)
            .map(|runtime| runtime.join("containers/auth.json")),
        config.map(|config| config.join("containers/auth.json")),
        Some("/var/run/secrets/registry-secret/.dockerconfigjson".into()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Sockets of Docker and Podman, the likeliest first: what `--load` tries.
///
/// A variable that names a socket is the only one tried.
pub(crate) fn engine_sockets(environment: &Environment) -> Result<Vec<PathBuf>, String> {
    for variable in [&env::DOCKER_HOST, &env::CONTAINER_HOST] {
        if let Some(value) = environment.get(variable) {
            let value = value.to_string_lossy();
            return match value.strip_prefix("unix://") {
                Some(path) => Ok(vec![path.into()]),
                None => Err(format!("`{}` is `{value}`", variable.name)),
            };
        }
    }
    let runtime = environment.absolute(&env::XDG_RUNTIME_DIR);
    let below = |name: &str| runtime.map(|runtime| runtime.join(name));
    let user = [below("docker.sock"), below("podman/podman.sock")];
    let system = ["/var/run/docker.sock", "/run/podman/podman.sock"].map(|path| Some(path.into()));
    let all = if environment.is_root {
        system.into_iter().chain(user).collect::<Vec<_>>()
    } else {
        user.into_iter().chain(system).collect()
    };
    Ok(all.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::super::env::tests::user;
    use super::*;

    #[test]
    fn a_user_s_store_is_below_the_data_directory() {
        let root = |variables| default_root(&user(variables));
        assert_eq!(
            root(&[("HOME", "/me")]),
            Some("/me/.local/share/kiln".into())
        );
        assert_eq!(
            root(&[("HOME", "/me"), ("XDG_DATA_HOME", "/data")]),
            Some("/data/kiln".into())
        );
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn credentials_are_looked_for_where_docker_and_podman_keep_them() {
        let files = credential_files(&user(&[
            ("HOME", "/me"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("REGISTRY_AUTH_FILE", "auth.json"),
        ]));
        let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
        assert_eq!(
            files,
            [
                "/here/auth.json",
                "/me/.docker/config.json",
                "/run/user/1/containers/auth.json",
                "/me/.config/containers/auth.json",
                "/var/run/secrets/registry-secret/.dockerconfigjson",
            ]
        );
    }

    #[test]
    fn a_named_socket_is_the_only_one() {
        let sockets = |host| engine_sockets(&user(&[("DOCKER_HOST", host)]));
        assert_eq!(sockets("unix:///s"), Ok(vec!["/s".into()]));
        assert!(sockets("tcp://h:2375").is_err());
    }
}
