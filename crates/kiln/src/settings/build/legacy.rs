//! What the flags that nothing here listens to come to: a line for the user, or an error where
//! leaving it out would build something else.

use super::{BuildArgsError, FlagError};
use crate::args::{BuildArgs, split_csv};
use crate::settings::env::{EXPERIMENTAL_BUILDKIT_SOURCE_POLICY, Environment};

/// A line for each flag that does nothing.
pub(super) fn notes(
    args: &BuildArgs,
    environment: &Environment,
) -> Result<Vec<String>, BuildArgsError> {
    if environment
        .get(&EXPERIMENTAL_BUILDKIT_SOURCE_POLICY)
        .is_some()
    {
        return Err(BuildArgsError::SourcePolicy);
    }
    for policy in args.legacy.policy.iter().filter(|text| !text.is_empty()) {
        refuse_policy(policy)?;
    }
    let legacy = &args.legacy;
    let notes = [
        (
            legacy.builder.as_ref().is_some_and(|name| !name.is_empty()),
            "`--builder` does nothing: kiln has no builder instances",
        ),
        (
            legacy.isolation.is_some(),
            "`--isolation` does nothing: it is a choice on Windows only",
        ),
        (
            legacy.security_opt.iter().any(|option| !option.is_empty()),
            "`--security-opt` does nothing: write `RUN --security=insecure` in the Dockerfile",
        ),
        (
            legacy.squash,
            "`--squash` does nothing: copy what is needed into a stage of its own",
        ),
    ];
    let asked = notes.into_iter().filter(|(asked, _)| *asked);
    Ok(asked.map(|(_, note)| note.to_owned()).collect())
}

/// A policy that is turned off is as good as none; every other would let in less than kiln does.
fn refuse_policy(text: &str) -> Result<(), FlagError> {
    let off = split_csv(text).is_some_and(|fields| fields == ["disabled=true"]);
    if off {
        return Ok(());
    }
    let reason = "kiln has no Rego policies; `--policy disabled=true` builds without";
    Err(FlagError::new("--policy", text, reason))
}
