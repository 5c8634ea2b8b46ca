//! What happened in one build: a page for a browser and a table for a terminal.

mod html;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kiln_base::Timestamp;

pub use html::html;
pub use table::table;

/// What happened in one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRecord {
    /// What the build is called: an image's name, or an id.
    pub name: String,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub status: BuildStatus,
    /// The platforms that were built for.
    pub platforms: Vec<String>,
    /// Why it failed.
    pub error: Option<BuildFailure>,
    /// The steps in the order in which they began.
    pub steps: Vec<StepRecord>,
    /// What was written: names and digests of images, paths.
    pub outputs: Vec<String>,
    /// What the build warned of.
    pub warnings: Vec<String>,
    /// Whatever else is worth a line in the summary: name and value.
    pub facts: Vec<(String, String)>,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuildStatus {
    /// All outputs were written.
    Succeeded,
    /// Something went wrong.
    Failed,
    /// Someone stopped it.
    Cancelled,
    /// It goes on.
    Running,
    /// Its process was killed, or the machine went down.
    Interrupted,
}

/// Why a build failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildFailure {
    /// What went wrong, one line or more.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// Where: the Dockerfile and the number of the line, from 1.
    pub place: Option<(String, u32)>,
    /// The lines of the Dockerfile around that place.
    pub excerpt: Vec<SourceLine>,
}

/// One line of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// Its number, from 1.
    pub number: u32,
    /// Its text.
    pub text: String,
    /// Whether this is what went wrong.
    pub marked: bool,
}

/// What happened in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// What progress called it, for example `[build 2/5] RUN make`.
    pub name: String,
    /// The stage it belongs to; may be empty.
    pub stage: String,
    /// How long after the build's start it began.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub status: StepStatus,
    /// Bytes that were fetched or written, where that is known.
    pub bytes: Option<u64>,
    /// The end of what it printed; may be empty.
    pub log: String,
    /// Whether `log` lacks the beginning.
    pub log_cut: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepStatus {
    /// It ran.
    Done,
    /// Its result was there already.
    Cached,
    /// It went wrong.
    Failed,
    /// It was stopped.
    Cancelled,
}

impl BuildStatus {
    const fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
        }
    }
}

impl StepStatus {
    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl BuildRecord {
    /// How many steps ended so.
    fn count(&self, status: StepStatus) -> usize {
        let steps = self.steps.iter();
        steps.filter(|step| step.status == status).count()
    }

    /// How long the axis of time has to be, at least one millisecond.
    fn span(&self) -> Duration {
        let ends = self.steps.iter().map(|step| step.start + step.duration);
        let last = ends.max().unwrap_or_default().max(self.duration);
        last.max(Duration::from_millis(1))
    }
}

/// `part` of `whole` in thousandths, 0 to 1000.
fn thousandths(part: Duration, whole: Duration) -> u64 {
    let share = part.as_micros().saturating_mul(1000) / whole.as_micros().max(1);
    u64::try_from(share).unwrap_or(1000).min(1000)
}

/// `1.2s`, `350ms`, `2m05s`, `1h02m`.
fn human_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match millis {
        0..1000 => format!("{millis}ms"),
        1000..60_000 => format!("{}.{}s", seconds, duration.subsec_millis() / 100),
        60_000..3_600_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// `512 B`, `1.5 MB`: steps of 1000, as `docker images` has them.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}
