//! The host's apt: where packages come from, and how it gets there.

use std::path::{Path, PathBuf};

use kiln_sys::files;

use crate::error::BootstrapError;
use crate::helper::{self, Program};
use crate::release::Release;
use crate::sources::{self, Archive};

/// apt's configuration of the host.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostApt {
    /// The sources that are switched on.
    pub(crate) archives: Vec<Archive>,
    /// Settings of how files are fetched: proxies, certificates, retries. In apt's own syntax.
    pub(crate) acquire: String,
}

/// Fetches one file by apt's own methods, so that proxies and credentials are as the host has them.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Settings below `Acquire` that decide what is fetched, not how: those are the image's own.
const NOT_CARRIED: &[&str] = &[
    "Acquire::CompressionTypes",
    "Acquire::GzipIndexes",
    "Acquire::IndexTargets",
    "Acquire::Languages",
    "Acquire::cdrom",
];

impl HostApt {
    /// Reads the host's configuration. A host without apt has none.
    pub(crate) fn read(programs: &Program<'_>) -> Result<Self, BootstrapError> {
        let dump = helper::capture(programs, Path::new("/usr/bin/apt-config"), &["dump"])?;
        Ok(Self {
            archives: read_sources(Path::new("/etc/apt"))?,
            acquire: acquire_settings(&dump.stdout),
        })
    }

    /// Settings for the time of the installation: how and as whom the host fetches, and no more
    /// than is needed.
    pub(crate) fn acquire_settings(&self) -> String {
        format!(
            "{}Acquire::Languages \"none\";\n\
             Dir::Etc::netrc \"/etc/apt/auth.conf\";\n\
             Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n",
            self.acquire
        )
    }

    /// Options that every source takes from the host's settings: archives that the host believes
    /// although they are old have to be believed in the image, too.
    pub(crate) fn apply_trust(&self, archive: &mut Archive) {
        for name in ["Check-Valid-Until", "Check-Date"] {
            let off = format!("Acquire::{name} \"false\";");
            if self.acquire.lines().any(|line| line == off) {
                archive
                    .options
                    .entry(name)
                    .or_insert_with(|| "no".to_owned());
            }
        }
    }
}

/// The lines of `apt-config dump` that say how files are fetched.
fn acquire_settings(dump: &str) -> String {
    let carried = |line: &&str| {
        line.starts_with("Acquire::") && !NOT_CARRIED.iter().any(|name| line.starts_with(name))
    };
    let lines: Vec<&str> = dump.lines().filter(carried).chain([""]).collect();
    lines.join(
        "
",
    )
}

fn read_sources(folder: &Path) -> Result<Vec<Archive>, BootstrapError> {
    let mut archives = Vec::new();
    if let Some(bytes) = files::try_read(folder.join("sources.list"))? {
        archives.extend(sources::parse_list(&String::from_utf8_lossy(&bytes)));
    }
    let parts = folder.join("sources.list.d");
    let mut names = if files::exists(&parts) {
        files::names(&parts)?
    } else {
        Vec::new()
    };
    names.sort();
    for name in names {
        let parse = match name.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources::parse_list,
            Some("sources") => sources::parse_deb822,
            _ => continue,
        };
        if let Some(bytes) = files::try_read(parts.join(&name))? {
            archives.extend(parse(&String::from_utf8_lossy(&bytes)));
        }
    }
    for archive in &mut archives {
        resolve_mirror_list(archive)?;
    }
    Ok(archives)
}

/// Clouds keep the address in a file of its own, which an image does not have.
fn resolve_mirror_list(archive: &mut Archive) -> Result<(), BootstrapError> {
    let Some(list) = archive.uri.strip_prefix("mirror+file:") else {
        return Ok(());
    };
    let list = PathBuf::from(format!("/{}", list.trim_start_matches('/')));
    if let Some(bytes) = files::try_read(&list)? {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(uri) = sources::first_mirror(&text) {
            uri.trim_end_matches('/').clone_into(&mut archive.uri);
        }
    }
    Ok(())
}

/// Why a Release file was not read.
#[derive(Debug)]
pub(crate) enum ReleaseError {
    /// The archive answered that there is none.
    Absent { url: String },
    /// Everything else.
    Failed(BootstrapError),
}

impl From<BootstrapError> for ReleaseError {
    fn from(error: BootstrapError) -> Self {
        Self::Failed(error)
    }
}

/// Fetches an archive's Release file into `scratch` and reads it.
pub(crate) fn release(
    programs: &Program<'_>,
    archive: &Archive,
    scratch: &Path,
) -> Result<Release, ReleaseError> {
    let mut absent = None;
    for file in ["InRelease", "Release"] {
        let url = archive.release_url(file);
        let target = scratch.join("release");
        let arguments = [
            "-oAPT::Sandbox::User=root",
            "download-file",
            &url,
            &target.display().to_string(),
        ];
        let fetched = helper::capture(programs, Path::new(APT_HELPER), &arguments)?;
        let public = without_credentials(&url);
        if fetched.success {
            let text = files::read_to_string(&target).map_err(BootstrapError::from)?;
            files::remove_file(&target).map_err(BootstrapError::from)?;
            return Ok(Release::parse(&text));
        }
        if !says_absent(&fetched.stderr) {
            let reason = reason(&fetched.stderr);
            return Err(BootstrapError::Unreachable {
                url: public,
                reason,
            }
            .into());
        }
        absent.get_or_insert(public);
    }
    Err(ReleaseError::Absent {
        url: absent.unwrap_or_default(),
    })
}

/// Whether apt's message means that the server, or the folder, has no such file.
fn says_absent(message: &str) -> bool {
    ["404 ", "410 ", "File not found", "No such file"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// The first error line of apt, without its mark and without the address, which the error names.
fn reason(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let line = lines.find_map(|line| line.strip_prefix("E: ").or(line.strip_prefix("Err:1 ")));
    let line = line.unwrap_or("apt gave no reason");
    let words = line.split_whitespace().filter(|word| !word.contains("://"));
    words.collect::<Vec<_>>().join(" ")
}

fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('@') {
            Some((user, host)) if !user.contains('/') => format!("{scheme}://{host}"),
            _ => url.to_owned(),
        },
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_fetching_are_carried() {
        let dump = "APT \"\";\n\
                    Acquire::http::Proxy \"http://proxy.example:3128\";\n\
                    Acquire::Languages:: \"none\";\n\
                    Acquire::Check-Valid-Until \"false\";\n\
                    Dir \"/\";\n";
        let acquire = acquire_settings(dump);
        assert_eq!(
            acquire,
            "Acquire::http::Proxy \"http://proxy.example:3128\";\n\
             Acquire::Check-Valid-Until \"false\";\n"
        );
        let host = HostApt {
            archives: Vec::new(),
            acquire,
        };
        let mut archive = sources::parse_list("deb http://mirror.example/ a main").remove(0);
        host.apply_trust(&mut archive);
        let options: Vec<_> = archive
            .options
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(options, ["Check-Valid-Until=no"]);
    }

    #[test]
    fn messages_of_apt() {
        let missing = "Err:1 http://m.example/dists/x/InRelease\n  404  Not Found [IP: 192.0.2.1 80]\n\
                       E: Failed to fetch http://m.example/dists/x/InRelease  404  Not Found\n";
        assert!(says_absent(missing));
        let unreachable = "E: Failed to fetch http://m.example/x  Could not resolve 'm.example'\n";
        assert!(!says_absent(unreachable));
        assert_eq!(
            reason(unreachable),
            "Failed to fetch Could not resolve 'm.example'"
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(
            without_credentials("https://me:secret@m.example/debian/a@b"),
            "https://m.example/debian/a@b"
        );
        assert_eq!(
            without_credentials("http://m.example/a@b"),
            "http://m.example/a@b"
        );
        assert_eq!(without_credentials("file:/srv/repo"), "file:/srv/repo");
    }
}
