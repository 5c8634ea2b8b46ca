//! The table of settings: one row for each, whatever sets it.
//!
//! A setting has one name. `jobs` in a file is `KILN_JOBS` in the environment and `--jobs` on the
//! command line, and one parser reads its value wherever it stands. Help, `kiln config show` and
//! docs/configuration.md read this table.

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Root,
    Sandbox,
    Jobs,
    Progress,
    Color,
    Platform,
    Network,
    Format,
    Compression,
    CompressionLevel,
    GzipSingleMember,
    TrustHostCas,
    BootstrapMirror,
}

/// What a configuration file may hold for a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Switch,
    /// `true`, `false` or a text.
    SwitchOrText,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    /// The name in a file.
    pub(crate) name: &'static str,
    /// The variable.
    pub(crate) variable: &'static str,
    /// The flag, on the commands that have a use for it.
    pub(crate) flag: &'static str,
    pub(crate) kind: Kind,
    /// The default in words.
    pub(crate) default: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
}

macro_rules! rows {
    ($($key:ident $kind:ident $name:literal $variable:literal $flag:literal, $default:literal, $about:literal;)*) => {
        /// Every setting, in the order in which it is shown.
        pub(crate) const ROWS: &[Row] = &[$(Row {
            key: Key::$key,
            name: $name,
            variable: $variable,
            flag: $flag,
            kind: Kind::$kind,
            default: $default,
            about: $about,
        }),*];
    };
}

rows! {
    Root Text "root" "KILN_ROOT" "--root",
        "`/var/lib/kiln` for root, else `$XDG_DATA_HOME/kiln`",
        "the directory with images, layers and the build cache";
    Sandbox Text "sandbox" "KILN_SANDBOX" "--sandbox",
        "`auto`",
        "`auto` takes the strongest that works; `rootless` a user namespace even for root; `single-id` one with a single user id";
    Jobs Number "jobs" "KILN_JOBS" "--jobs",
        "the number of processors",
        "how many steps run, and how many threads compress, at once";
    Progress Text "progress" "KILN_PROGRESS" "--progress",
        "`auto`",
        "how a build shows its progress: `auto`, `tty`, `plain`, `json`, `rawjson`, `quiet`, `none`";
    Color Text "color" "KILN_COLOR" "--color",
        "`auto`",
        "colour in messages: `auto`, `always`, `never`";
    Platform Text "platform" "KILN_PLATFORM" "--platform",
        "this machine's",
        "the platform of images to build, pull and run, as `linux/arm64`; several for a build, separated by commas";
    Network Text "network" "KILN_NETWORK" "--network",
        "`default`",
        "the network of RUN steps and of `kiln run`: `default`, `host`, `none`";
    Format Text "format" "KILN_FORMAT" "--format",
        "`oci`",
        "the family of media types of new images: `oci`, `docker`";
    Compression Text "compression" "KILN_COMPRESSION" "--compression",
        "`gzip`",
        "how new layers are compressed: `gzip`, `zstd`, `uncompressed`";
    CompressionLevel Number "compression-level" "KILN_COMPRESSION_LEVEL" "--compression-level",
        "2 for gzip, 3 for zstd",
        "how hard: gzip 0 to 9 (one member: 4), zstd 1 to 22";
    GzipSingleMember Switch "gzip-single-member" "KILN_GZIP_SINGLE_MEMBER" "--gzip-single-member",
        "`false`",
        "write each gzip layer as one member, for readers that stop after the first";
    TrustHostCas SwitchOrText "trust-host-cas" "KILN_TRUST_HOST_CAS" "--trust-host-cas",
        "`false`",
        "let RUN steps trust the host's additional certificate authorities (`true`), or those in a file";
    BootstrapMirror Text "bootstrap-mirror" "KILN_BOOTSTRAP_MIRROR" "--mirror",
        "the host's apt configuration",
        "where `kiln bootstrap` finds packages";
}

/// Variables that other tools have for a setting. kiln's own is stronger.
pub(crate) const FOREIGN: [(Key, &str); 2] = [
    (Key::Platform, super::env::DOCKER_DEFAULT_PLATFORM.name),
    (Key::Progress, super::env::BUILDKIT_PROGRESS.name),
];

impl Key {
    /// The setting of that name in a file.
    pub(crate) fn named(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.key)
    }

    /// The setting's row.
    pub(crate) fn row(self) -> &'static Row {
        // A test checks that the rows are in the order of the enum.
        &ROWS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_in_the_order_of_the_keys() {
        for row in ROWS {
            assert_eq!(row.key.row().name, row.name);
        }
    }

    #[test]
    fn a_variable_is_the_name_in_capitals() {
        for row in ROWS {
            let expected = format!("KILN_{}", row.name.replace('-', "_").to_uppercase());
            assert_eq!(row.variable, expected);
        }
    }
}
