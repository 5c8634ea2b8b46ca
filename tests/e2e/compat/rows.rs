//! All rows there are, in the order of the reference.

/// One row of the reference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The section's number, as in `1.2`.
    pub(crate) section: &'static str,
    /// What the section is about.
    pub(crate) title: &'static str,
    /// The module that has the test.
    pub(crate) module: &'static str,
    /// What the row is about.
    pub(crate) name: &'static str,
    /// Its place among all rows.
    pub(crate) place: usize,
}

/// Rows of one section whose tests are in one module.
struct Group {
    section: &'static str,
    title: &'static str,
    module: &'static str,
    rows: &'static [&'static str],
}

const FLAGS: &str = "Flags and options of instructions";

const GROUPS: &[Group] = &[
    Group {
        section: "1.1",
        title: "Instructions",
        module: "instructions",
        rows: &["The 18 instructions"],
    },
    Group {
        section: "1.2",
        title: FLAGS,
        module: "stages",
        rows: &["FROM", "FROM scratch", "base image without layers"],
    },
    Group {
        section: "1.2",
        title: FLAGS,
        module: "run",
        rows: &[
            "RUN --mount=type=bind",
            "RUN --mount=type=cache",
            "RUN --mount=type=tmpfs",
            "RUN --mount=type=secret",
            "RUN --mount=type=ssh",
            "mount values expansion",
            "RUN --network",
            "RUN --security",
            "RUN --device",
            "RUN exec and shell form",
            "RUN heredoc",
        ],
    },
    Group {
        section: "1.2",
        title: FLAGS,
        module: "copy",
        rows: &[
            "COPY and ADD heredoc",
            "COPY --from",
            "--chown",
            "--chmod",
            "--link",
            "--parents",
            "--exclude",
        ],
    },
    Group {
        section: "1.2",
        title: FLAGS,
        module: "add",
        rows: &[
            "ADD --checksum",
            "ADD --keep-git-dir",
            "ADD --unpack",
            "ADD http",
            "ADD git",
            "ADD local archive",
        ],
    },
    Group {
        section: "1.2",
        title: FLAGS,
        module: "copy",
        rows: &["wildcards of COPY and ADD", "directories of COPY and ADD"],
    },
    Group {
        section: "1.2",
        title: FLAGS,
        module: "instructions",
        rows: &[
            "HEALTHCHECK",
            "SHELL",
            "STOPSIGNAL",
            "EXPOSE",
            "VOLUME",
            "USER and WORKDIR",
            "LABEL and ENV",
            "ARG",
            "ONBUILD",
            "CMD and ENTRYPOINT",
        ],
    },
    Group {
        section: "1.2",
        title: FLAGS,
        module: "stages",
        rows: &[
            ".dockerignore",
            "Dockerfile lookup",
            "named contexts",
            "# syntax directive",
            "# escape directive",
            "# check directive",
            "history strings",
        ],
    },
    Group {
        section: "1.3",
        title: "Rules of ARG",
        module: "arguments",
        rows: &[
            "global ARG only in FROM",
            "ENV beats ARG",
            "ARG invalidates the first RUN",
            "predefined proxy arguments",
            "automatic platform arguments",
            "built-in arguments",
            "SOURCE_DATE_EPOCH forms",
        ],
    },
    Group {
        section: "1.4",
        title: "Variable expansion",
        module: "expansion",
        rows: &[
            "defaults, alternatives and errors with colon",
            "defaults, alternatives and errors without colon",
            "prefixes and suffixes removed",
            "patterns replaced",
            "expressions in expressions",
            "quotes",
            "special parameters",
            "where variables are expanded",
        ],
    },
    Group {
        section: "1.5",
        title: "Checks",
        module: "lint",
        rows: &[
            "StageNameCasing",
            "FromAsCasing",
            "NoEmptyContinuation",
            "ConsistentInstructionCasing",
            "DuplicateStageName",
            "ReservedStageName",
            "JSONArgsRecommended",
            "MaintainerDeprecated",
            "UndefinedArgInFrom",
            "WorkdirRelativePath",
            "UndefinedVar",
            "MultipleInstructionsDisallowed",
            "LegacyKeyValueFormat",
            "InvalidBaseImagePlatform",
            "RedundantTargetPlatform",
            "SecretsUsedInArgOrEnv",
            "InvalidDefaultArgInFrom",
            "FromPlatformFlagConstDisallowed",
            "CopyIgnoredFile",
            "InvalidDefinitionDescription",
            "ExposeProtoCasing",
            "ExposeInvalidFormat",
        ],
    },
    Group {
        section: "1.6",
        title: "What RUN sees and leaves",
        module: "sandbox",
        rows: &[
            "PATH of a base without one",
            "host name and files of the network",
            "mount points leave no trace",
            "ENTRYPOINT of the base is not used by RUN",
        ],
    },
    Group {
        section: "2.1",
        title: "Flags of build",
        module: "build_flags",
        rows: &[
            "PATH, URL or stdin",
            "--file",
            "--tag",
            "--target",
            "--build-arg",
            "labels",
            "annotation flag",
            "--build-context",
            "--platform",
            "--push",
            "--load",
            "--no-cache",
            "--no-cache-filter",
            "--pull",
            "--secret",
            "--allow",
            "--network",
            "--add-host",
            "--shm-size",
            "--ulimit",
            "--cgroup-parent and --resource",
            "--sbom, --provenance and --attest",
            "--metadata-file and --iidfile",
            "--progress and --quiet",
            "--call and --check",
            "--policy",
            "--builder and --debug",
        ],
    },
    Group {
        section: "2.2",
        title: "Attributes of outputs",
        module: "outputs",
        rows: &[
            "output types",
            "name",
            "push and registry.insecure",
            "push-by-digest",
            "dest and tar",
            "oci-mediatypes",
            "oci-artifact",
            "unpack and store",
            "dangling-name-prefix and name-canonical",
            "compression",
            "compression=estargz",
            "compression-level and force-compression",
            "rewrite-timestamp and source-date-epoch",
            "annotations",
            "prefer-nondist-layers",
            "compatibility-version",
            "attestation-inline",
            "platform-split and mode of local",
        ],
    },
    Group {
        section: "2.3",
        title: "Caches",
        module: "caches",
        rows: &[
            "cache type=inline",
            "cache type=registry",
            "cache type=local",
            "cache type=gha",
            "cache type=s3",
            "cache type=azblob",
            "cache mounts are listed, exported and pruned",
        ],
    },
    Group {
        section: "2.4",
        title: "Bake",
        module: "bake",
        rows: &[
            "targets built as one graph",
            "variables, functions and groups",
            "matrix and inheritance",
            "JSON and compose files",
            "--set and attributes",
            "--list and --print",
            "flags of bake",
        ],
    },
    Group {
        section: "2.5",
        title: "Other commands",
        module: "others",
        rows: &[
            "imagetools create and inspect",
            "du",
            "prune",
            "history",
            "builder instances",
        ],
    },
    Group {
        section: "2.6",
        title: "Reproducibility",
        module: "reproducible",
        rows: &[
            "SOURCE_DATE_EPOCH of the environment",
            "times of local and tar outputs",
            "same inputs give the same bytes",
        ],
    },
];

/// All rows, in order.
pub(crate) fn all() -> impl Iterator<Item = Row> {
    let rows = GROUPS.iter().flat_map(|group| {
        group.rows.iter().map(move |&name| Row {
            section: group.section,
            title: group.title,
            module: group.module,
            name,
            place: 0,
        })
    });
    rows.enumerate().map(|(place, row)| Row { place, ..row })
}

/// The row whose test has this path.
pub(crate) fn find(test: &str) -> Option<Row> {
    all().find(|row| row.test() == test)
}

impl Row {
    /// The path of the row's test.
    pub(crate) fn test(&self) -> String {
        format!("compat::{}::{}", self.module, slug(self.name))
    }
}

/// A name as that of a function: words in lower case with underscores between them.
pub(crate) fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    words.join("_")
}
