//! Questions about a Dockerfile: `--call`, `--check` and `kiln lint`. Nothing is built and nothing
//! fetched: what only a base image could tell is left out.

use std::path::{Path, PathBuf};

use kiln_dockerfile::{Diagnostic, parse};
use kiln_engine::{BuildRequest, CacheUse, Context, Dockerfile, NamedContext};
use kiln_frontend::{
    Allow, Facts, IgnoreList, ImageName, LintReport, LowerOptions, NoCache, ReportSource,
};
use kiln_oci::Platform;

use crate::error::{Blame, CliError, Exit};
use crate::settings::build::{Call, CallFormat, Method};

/// A Dockerfile is not larger than this, nor is an ignore file.
const MOST_BYTES: u64 = 4 << 20;

/// What is asked about.
pub(super) struct Subject {
    /// What messages call the file.
    name: String,
    text: String,
    options: LowerOptions,
    facts: Facts,
}

/// An answer.
pub(super) struct Answer {
    pub(super) text: String,
    /// Whether what was asked for is as it should be.
    pub(super) is_good: bool,
}

/// The file of a build, and what the build says about it.
pub(super) fn subject(request: &BuildRequest) -> Result<Subject, CliError> {
    let (name, text) = dockerfile(request)?;
    let mut facts = Facts::default();
    if let Some(ignore) = ignore_file(request, &name)? {
        facts.set_ignore(ignore);
    }
    Ok(Subject {
        name,
        text,
        options: options(request),
        facts,
    })
}

impl Subject {
    /// A file by itself.
    pub(super) fn file(path: &Path, shown: &str, platform: Platform) -> Result<Self, CliError> {
        Ok(Self {
            name: shown.to_owned(),
            text: read_text(path)?,
            options: LowerOptions {
                build: 0,
                sharing: kiln_graph::Sharing::default(),
                prefix: String::new(),
                target: None,
                build_args: std::collections::BTreeMap::new(),
                labels: std::collections::BTreeMap::new(),
                target_platform: platform,
                build_platform: Platform::host(),
                no_cache: NoCache::None,
                context: 0,
                contexts: std::collections::BTreeMap::new(),
                allow: Allow {
                    network_host: true,
                    security_insecure: true,
                },
                run_settings: Vec::new(),
            },
            facts: Facts::default(),
        })
    }

    /// The errors among what was found.
    fn refused(&self, found: &[Diagnostic]) -> CliError {
        let render = |found| kiln_dockerfile::render(found, &self.name, &self.text) + "\n\n";
        let errors = found.iter().filter(|found| found.is_error());
        let error = CliError::new(Blame::User, Exit::Build, "the Dockerfile can't be read");
        error.excerpt(errors.map(render).collect::<String>())
    }

    /// Hands what was found in the file to `use_report`.
    pub(super) fn check<T>(&self, use_report: impl FnOnce(&LintReport<'_>) -> T) -> T {
        let (dockerfile, mut found) = parse(&self.text);
        found.extend(
            kiln_frontend::lint(&dockerfile, &self.options, &self.facts).diagnostics_with_verdict(),
        );
        let source = ReportSource {
            file: &self.name,
            text: &self.text,
            dockerfile: &dockerfile,
        };
        use_report(&LintReport::new(source, found))
    }
}

/// Answers one question.
pub(super) fn answer(call: Call, subject: &Subject) -> Result<Answer, CliError> {
    let is_json = call.format == CallFormat::Json;
    if call.method == Method::Check {
        return Ok(subject.check(|report| Answer {
            text: if is_json {
                line(report.to_json())
            } else {
                check_text(report)
            },
            is_good: report.is_clean() || call.ignore_status,
        }));
    }
    let good = |text| Answer {
        text: line(text),
        is_good: true,
    };
    if call.method == Method::Describe {
        return Ok(good(if is_json {
            kiln_frontend::subrequests_json()
        } else {
            kiln_frontend::subrequests_text()
        }));
    }
    let (dockerfile, found) = parse(&subject.text);
    if found.iter().any(Diagnostic::is_error) {
        return Err(subject.refused(&found));
    }
    Ok(good(match (call.method, is_json) {
        (Method::Targets, true) => {
            let targets = kiln_frontend::targets(&dockerfile);
            kiln_frontend::targets_json(&targets, &dockerfile, &subject.text)
        }
        (Method::Targets, false) => {
            kiln_frontend::targets_text(&kiln_frontend::targets(&dockerfile))
        }
        (_, is_json) => {
            let outline = kiln_frontend::outline(&dockerfile, &subject.options, &subject.facts);
            let outline = outline.map_err(|found| subject.refused(&found))?;
            if is_json {
                outline.to_json(&dockerfile, &subject.text)
            } else {
                outline.to_text()
            }
        }
    }))
}

/// What `docker build --check` says: how much was found, then each.
fn check_text(report: &LintReport<'_>) -> String {
    match report.diagnostics().len() {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => format!(
            "Check complete, 1 warning has been found!\n\n{}",
            report.to_text()
        ),
        count => format!(
            "Check complete, {count} warnings have been found!\n\n{}",
            report.to_text()
        ),
    }
}

fn line(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The file's name as messages have it, and its text.
fn dockerfile(request: &BuildRequest) -> Result<(String, String), CliError> {
    let far = |what: &str| {
        CliError::usage(format!(
            "could not look into `{what}`: questions are answered about local files only"
        ))
        .hint("fetch it first, and name the file: `-f FILE`")
    };
    match (&request.dockerfile, &request.context) {
        (Dockerfile::Text(text), _) => Ok(("Dockerfile".to_owned(), text.clone())),
        (Dockerfile::Path(path), _) => read(path),
        (Dockerfile::Default, Context::Directory(folder)) => {
            let usual = folder.join("Dockerfile");
            let lower = folder.join("dockerfile");
            read(if !usual.exists() && lower.exists() {
                &lower
            } else {
                &usual
            })
        }
        (Dockerfile::Http(url), _) => Err(far(url)),
        (_, Context::Git(address) | Context::Http(address)) => Err(far(address)),
        (_, Context::Archive(_)) => Err(far("standard input")),
        (Dockerfile::InContext(path), Context::Directory(folder)) => read(&folder.join(path)),
        (Dockerfile::Default | Dockerfile::InContext(_), Context::Empty) => {
            Err(CliError::bug("a build without a context and a Dockerfile"))
        }
    }
}

fn read(path: &Path) -> Result<(String, String), CliError> {
    Ok((path.display().to_string(), read_text(path)?))
}

fn read_text(path: &Path) -> Result<String, CliError> {
    let bytes = kiln_sys::files::read_limited(path, MOST_BYTES).map_err(CliError::usage)?;
    String::from_utf8(bytes).map_err(|_| {
        CliError::new(
            Blame::User,
            Exit::Build,
            format!("`{}` is not a Dockerfile: it is not UTF-8", path.display()),
        )
    })
}

/// The ignore file that a build of the directory uses: the Dockerfile's own, or the directory's.
fn ignore_file(request: &BuildRequest, name: &str) -> Result<Option<IgnoreList>, CliError> {
    let Context::Directory(folder) = &request.context else {
        return Ok(None);
    };
    let own = PathBuf::from(format!("{name}.dockerignore"));
    for path in [own, folder.join(".dockerignore")] {
        if path.is_file() {
            let text = read_text(&path)?;
            return IgnoreList::parse(&text)
                .map(Some)
                .map_err(|cause| CliError::new(Blame::User, Exit::Build, cause));
        }
    }
    Ok(None)
}

/// The build's options as lowering takes them.
fn options(request: &BuildRequest) -> LowerOptions {
    let platform = request.platforms.first().cloned();
    let contexts = request.contexts.iter().map(|(name, context)| {
        let context = match context {
            NamedContext::Files(_) => kiln_frontend::NamedContext::Files(1),
            NamedContext::Image(image) => {
                kiln_frontend::NamedContext::Image(ImageName::Reference(image.clone()))
            }
            NamedContext::Layout { .. } => {
                kiln_frontend::NamedContext::Image(ImageName::Layout(name.clone()))
            }
            NamedContext::Build(index) => {
                kiln_frontend::NamedContext::Image(ImageName::Build(*index))
            }
        };
        (name.clone(), context)
    });
    LowerOptions {
        build: 0,
        sharing: kiln_graph::Sharing::default(),
        prefix: String::new(),
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        labels: request.labels.clone(),
        target_platform: platform.unwrap_or_else(Platform::host),
        build_platform: Platform::host(),
        no_cache: match &request.cache {
            CacheUse::Use => NoCache::None,
            CacheUse::Ignore => NoCache::All,
            CacheUse::IgnoreStages(stages) => NoCache::Stages(stages.clone()),
        },
        context: 0,
        contexts: contexts.collect(),
        allow: Allow {
            network_host: request.steps.allow.network_host,
            security_insecure: request.steps.allow.security_insecure,
        },
        run_settings: Vec::new(),
    }
}
