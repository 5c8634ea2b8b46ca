//! What a target wants beyond what every build may do.

use crate::target::Target;

/// Something that whoever starts a build has to allow (`--allow`). Paths are as they are written:
/// which of them are below the working directory, and so allowed, the caller knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`
    NetworkHost,
    /// `security.insecure`
    SecurityInsecure,
    /// `device`: all devices, or one.
    Device(Option<String>),
    /// `fs.read=PATH`
    FsRead(String),
    /// `fs.write=PATH`
    FsWrite(String),
    /// `ssh`: the agent of the environment.
    Ssh,
    /// `buildx.local.delete`: a local output with `mode=delete` removes what it finds.
    LocalDelete,
}

impl std::fmt::Display for Entitlement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NetworkHost => f.write_str("network.host"),
            Self::SecurityInsecure => f.write_str("security.insecure"),
            Self::Device(None) => f.write_str("device"),
            Self::Device(Some(device)) => write!(f, "device={device}"),
            Self::FsRead(path) => write!(f, "fs.read={path}"),
            Self::FsWrite(path) => write!(f, "fs.write={path}"),
            Self::Ssh => f.write_str("ssh"),
            Self::LocalDelete => f.write_str("buildx.local.delete"),
        }
    }
}

impl Entitlement {
    /// The entitlement that a target's attribute names.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        match key {
            "network.host" => Some(Self::NetworkHost),
            "security.insecure" => Some(Self::SecurityInsecure),
            "device" => Some(Self::Device(
                Some(value.to_owned()).filter(|value| !value.is_empty()),
            )),
            _ => None,
        }
    }
}

/// The local path that a context stands for, if it is one.
fn local(context: &str) -> Option<String> {
    let elsewhere = ["target:", "docker-image:", "oci-layout://"]
        .iter()
        .any(|prefix| context.starts_with(prefix));
    if elsewhere || crate::path::is_remote(context) {
        return None;
    }
    Some(crate::path::clean(
        context.strip_prefix("cwd://").unwrap_or(context),
    ))
}

impl Target {
    /// What the target wants beyond what every build may do, sorted, each once.
    pub fn wants(&self) -> Vec<Entitlement> {
        let mut wants: Vec<Entitlement> = self
            .entitlements
            .iter()
            .filter_map(|text| Entitlement::named(text))
            .collect();
        let context = self.context.as_deref().and_then(local);
        let dockerfile = self
            .dockerfile
            .as_deref()
            .filter(|_| self.dockerfile_inline.is_none());
        if let (Some(context), Some(dockerfile)) = (&context, dockerfile) {
            wants.push(Entitlement::FsRead(crate::path::join(context, dockerfile)));
        }
        // Beside a context that is fetched an absolute path is one of this machine.
        if let (None, Some(path)) = (&context, dockerfile.filter(|path| path.starts_with('/'))) {
            wants.push(Entitlement::FsRead(path.to_owned()));
        }
        wants.extend(context.map(Entitlement::FsRead));
        wants.extend(
            self.contexts
                .values()
                .filter_map(|context| local(context))
                .map(Entitlement::FsRead),
        );
        let secrets = self
            .secrets
            .iter()
            // One with a name alone may be the file of that name.
            .map(|secret| match (secret.src.as_str(), secret.env.as_str()) {
                ("", "") => secret.id.clone(),
                (src, _) => src.to_owned(),
            })
            .filter(|src| !src.is_empty());
        wants.extend(secrets.map(Entitlement::FsRead));
        for ssh in &self.ssh {
            wants.extend(ssh.paths.iter().cloned().map(Entitlement::FsRead));
            wants.extend(ssh.paths.is_empty().then_some(Entitlement::Ssh));
        }
        let caches = self.cache_from.iter().filter(|cache| cache.kind == "local");
        wants.extend(
            caches
                .filter_map(|cache| cache.attributes.get("src").cloned())
                .map(Entitlement::FsRead),
        );
        let caches = self
            .cache_to
            .iter()
            .flatten()
            .filter(|cache| cache.kind == "local");
        wants.extend(
            caches
                .filter_map(|cache| cache.attributes.get("dest").cloned())
                .map(Entitlement::FsWrite),
        );
        for output in self.outputs.iter().flatten() {
            let path = output
                .attributes
                .get("dest")
                .filter(|dest| *dest != "-")
                .cloned();
            wants.extend(path.map(Entitlement::FsWrite));
            let deletes = output.kind == "local"
                && output
                    .attributes
                    .get("mode")
                    .is_some_and(|mode| mode == "delete");
            wants.extend(deletes.then_some(Entitlement::LocalDelete));
        }
        wants.sort();
        wants.dedup();
        wants
    }
}
