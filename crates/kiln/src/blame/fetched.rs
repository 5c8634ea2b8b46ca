//! Verdicts on what is fetched from elsewhere: repositories, downloads and caches.

use kiln_cache::CacheError;
use kiln_cache::inline::InlineError;
use kiln_engine::SourceError;
use kiln_fetch::git::{GitError, GitProblem};
use kiln_fetch::http::HttpError;

use super::{
    BUG, BUILT, DENIED, MACHINE, REGISTRY, SCARCE, STOPPED, USAGE, Verdict, blob, registry, root,
    snapshot, store,
};

/// What helps where a server wants a token.
const TOKEN: &str = "give a token: `--secret id=GIT_AUTH_TOKEN,env=TOKEN`";

pub(super) fn source(error: &SourceError) -> Verdict {
    match error {
        SourceError::Git(error) => git(error),
        SourceError::Http(error) => http(error),
        SourceError::NotAsked(_) => REGISTRY,
        SourceError::GitRef(_)
        | SourceError::NotGit(_)
        | SourceError::NotText(_)
        | SourceError::Archive { .. } => BUILT,
        SourceError::Secret(_) => USAGE,
        SourceError::KeysForGit(_) => USAGE.hint("add the key to an agent, and give `--ssh ID`"),
        SourceError::BlobGone(_) => MACHINE.hint("run the command again"),
        SourceError::Write(_) | SourceError::Fs(_) => MACHINE,
        SourceError::Blob(error) => blob(error),
        SourceError::Root(error) => root(error),
        SourceError::Snapshot(error) => snapshot(error),
        SourceError::Store(error) => store(error),
        SourceError::Cancelled(_) => STOPPED,
    }
}

fn git(error: &GitError) -> Verdict {
    match error {
        GitError::NotInstalled { .. } | GitError::TooOld { .. } => SCARCE,
        GitError::Failed { problem, .. } => match problem {
            GitProblem::Denied { .. } | GitProblem::KeyRefused { .. } => DENIED,
            GitProblem::NotFound {
                had_credential: false,
            } => REGISTRY.hint(format!("if the repository is a private one, {TOKEN}")),
            GitProblem::NotFound {
                had_credential: true,
            }
            | GitProblem::UnknownHost
            | GitProblem::Unreachable
            | GitProblem::Certificate
            | GitProblem::HostKey
            | GitProblem::Redirected
            | GitProblem::Other => REGISTRY,
        },
        GitError::TimedOut { .. } | GitError::Answer { .. } => REGISTRY,
        GitError::NoReference { .. }
        | GitError::NoDefaultBranch { .. }
        | GitError::NoCommit { .. }
        | GitError::Checksum { .. }
        | GitError::NeedsChecksum { .. }
        | GitError::Subdir { .. }
        | GitError::Submodule { .. } => BUILT,
        GitError::NotEmpty(_) => BUG,
        GitError::Run { .. }
        | GitError::Path(_)
        | GitError::Authorities(_)
        | GitError::Fs(_)
        | GitError::Lock(_) => MACHINE,
        GitError::Cancelled(_) => STOPPED,
    }
}

fn http(error: &HttpError) -> Verdict {
    match error {
        HttpError::Address { .. } | HttpError::Checksum { .. } => BUILT,
        HttpError::NeedsCredential { host, .. } => DENIED.hint(format!(
            "give a token: `--secret id=HTTP_AUTH_TOKEN_{host},env=TOKEN`"
        )),
        HttpError::Denied { .. } => DENIED,
        HttpError::NotFound { .. }
        | HttpError::Status { .. }
        | HttpError::Tls { .. }
        | HttpError::UnknownHost { .. }
        | HttpError::Unreachable { .. }
        | HttpError::Interrupted { .. }
        | HttpError::TooLarge { .. }
        | HttpError::Redirect { .. } => REGISTRY,
        HttpError::Credential { .. } | HttpError::Settings(_) => USAGE,
        HttpError::Write { .. } => MACHINE,
        HttpError::Cancelled(_) => STOPPED,
    }
}

pub(super) fn cache(error: &CacheError) -> Verdict {
    match error {
        CacheError::Registry(error) => registry(error),
        error if error.is_cancelled() => STOPPED,
        error if error.is_authentication() => DENIED,
        CacheError::Missing(_)
        | CacheError::NoCache(_)
        | CacheError::Format { .. }
        | CacheError::Document { .. }
        | CacheError::Damaged { .. }
        | CacheError::Layer { .. }
        | CacheError::LayerMissing { .. }
        | CacheError::Fetch { .. }
        | CacheError::Http { .. } => REGISTRY,
        CacheError::Inactive | CacheError::Settings(_) => USAGE,
        CacheError::Source { .. } | CacheError::File(_) | CacheError::Lock(_) => MACHINE,
        CacheError::Cancelled(_) => STOPPED,
    }
}

pub(super) fn inline_cache(error: &InlineError) -> Verdict {
    match error {
        InlineError::Format(_) => {
            BUILT.hint("write the cache elsewhere: `--cache-to type=registry,ref=NAME`")
        }
        InlineError::Config(_) => BUG,
    }
}
