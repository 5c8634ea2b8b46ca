//! `cargo xtask hooks`: a git hook that runs the quick checks before each commit.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::run::{self, Outcome};

const PRE_COMMIT: &str = "\
#!/bin/sh
# Installed by `cargo xtask hooks`.
set -e
cargo fmt --all --check
cargo xtask tidy
";

/// Writes the hook; an existing one that is not ours is left alone.
pub(crate) fn hooks() -> Outcome {
    let folder = run::read(run::command("git").args(["rev-parse", "--git-path", "hooks"]))?;
    let path = run::root().join(folder.trim()).join("pre-commit");
    let shown = path.display();
    let existing = fs::read_to_string(&path).unwrap_or_default();
    if !existing.is_empty() && !existing.contains("cargo xtask hooks") {
        return Err(format!(
            "`{shown}` exists and is not ours; it is left as it is"
        ));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
    }
    fs::write(&path, PRE_COMMIT).map_err(|error| format!("`{shown}`: {error}"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("`{shown}`: {error}"))?;
    eprintln!("installed {shown}");
    Ok(())
}
