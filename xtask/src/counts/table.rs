//! The table of counts, and what is to be said of new ones; text in, text out.

use std::fmt;

use toml::{Table as Toml, Value};

/// Percent by which a count may be higher or lower where the table does not say.
const TOLERANCE: f64 = 2.0;
/// Another compiler or library moves every count a little: so much wider is the tolerance there.
const ELSEWHERE: f64 = 5.0;

const HEADER: &str = "\
# How many instructions each hot path takes. `cargo xtask counts` compares, and fails where one takes
# more than its tolerance (in percent) allows; `cargo xtask counts --update` writes this file.
# docs/dev/counts.md says how to read it.
";

/// `benches/counts.toml`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) made_with: Environment,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    path: String,
    instructions: u64,
    /// In percent.
    tolerance: f64,
}

/// What counts depend on beside kiln. Each is a version or a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) architecture: String,
    pub(crate) libc: String,
    pub(crate) processor: String,
    pub(crate) rustc: String,
    pub(crate) valgrind: String,
}

/// New counts beside those of the table. `Display` is what is printed.
#[derive(Debug)]
pub(crate) struct Comparison {
    lines: Vec<Line>,
    /// Where the table was made elsewhere: how that differs.
    elsewhere: Option<String>,
}

#[derive(Debug)]
struct Line {
    path: String,
    counted: Option<u64>,
    expected: Option<u64>,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Same,
    /// Better by more than the tolerance: worth taking over, so that it is not lost again.
    Better,
    /// Worse by more than the tolerance, which is this many percent.
    Worse(f64),
    /// Only one of the two knows the path.
    OneSided,
    /// It could not be counted here.
    Skipped,
}

impl Table {
    /// Reads the file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let toml: Toml = text.parse().map_err(|error| format!("{error}"))?;
        let mut table = Self::default();
        for (name, value) in &toml {
            let section = value
                .as_table()
                .ok_or_else(|| format!("`{name}` is no section"))?;
            if name == "made-with" {
                table.made_with = Environment::parse(section)?;
                continue;
            }
            table.rows.push(Row::parse(name, section)?);
        }
        Ok(table)
    }

    /// The same table with new counts: paths in their order, tolerances as they were. What could
    /// not be counted stays as it was.
    pub(crate) fn with(&self, made_with: Environment, counted: &[(String, Option<u64>)]) -> Self {
        let row = |(path, instructions): &(String, Option<u64>)| {
            let old = self.row(path);
            Some(Row {
                path: path.clone(),
                instructions: instructions.or(old.map(|row| row.instructions))?,
                tolerance: old.map_or(TOLERANCE, |row| row.tolerance),
            })
        };
        Self {
            made_with,
            rows: counted.iter().filter_map(row).collect(),
        }
    }

    /// Whether a count is not too high, or not known at all.
    pub(crate) fn allows(&self, here: &Environment, path: &str, counted: u64) -> bool {
        !matches!(self.judge(here, path, counted), Verdict::Worse(_))
    }

    fn judge(&self, here: &Environment, path: &str, counted: u64) -> Verdict {
        let Some(row) = self.row(path) else {
            return Verdict::OneSided;
        };
        let factor = if *here == self.made_with {
            1.0
        } else {
            ELSEWHERE
        };
        let tolerance = row.tolerance * factor;
        match change(row.instructions, counted) {
            more if more > tolerance => Verdict::Worse(tolerance),
            less if less < -tolerance => Verdict::Better,
            _ => Verdict::Same,
        }
    }

    fn row(&self, path: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.path == path)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\n[made-with]")?;
        for (name, value) in self.made_with.fields() {
            writeln!(f, "{name} = \"{value}\"")?;
        }
        for row in &self.rows {
            writeln!(f, "\n[{}]", row.path)?;
            writeln!(f, "instructions = {}", grouped(row.instructions, '_'))?;
            writeln!(f, "tolerance = {:?}", row.tolerance)?;
        }
        Ok(())
    }
}

impl Row {
    fn parse(path: &str, section: &Toml) -> Result<Self, String> {
        let instructions = section.get("instructions").and_then(Value::as_integer);
        let tolerance = section.get("tolerance").and_then(Value::as_float);
        let instructions = instructions.and_then(|number| u64::try_from(number).ok());
        match (instructions, tolerance) {
            (Some(instructions), Some(tolerance)) if section.len() == 2 => Ok(Self {
                path: path.to_owned(),
                instructions,
                tolerance,
            }),
            _ => Err(format!(
                "`{path}` needs `instructions`, a whole number, and `tolerance`, a number with a point"
            )),
        }
    }
}

impl Environment {
    /// Why counts can't be compared at all, if they can't.
    pub(crate) fn reason_to_skip(&self, here: &Self) -> Option<String> {
        (self.architecture != here.architecture).then(|| {
            format!(
                "the table is for `{}`, this machine is `{}`",
                self.architecture, here.architecture
            )
        })
    }

    fn parse(section: &Toml) -> Result<Self, String> {
        let field = |name: &str| {
            let value = section.get(name).and_then(Value::as_str);
            value
                .map(str::to_owned)
                .ok_or_else(|| format!("`made-with` lacks `{name}`"))
        };
        Ok(Self {
            architecture: field("architecture")?,
            libc: field("libc")?,
            processor: field("processor")?,
            rustc: field("rustc")?,
            valgrind: field("valgrind")?,
        })
    }

    fn fields(&self) -> [(&'static str, &str); 5] {
        [
            ("architecture", &self.architecture),
            ("libc", &self.libc),
            ("processor", &self.processor),
            ("rustc", &self.rustc),
            ("valgrind", &self.valgrind),
        ]
    }

    /// `rustc 1.95.0 instead of 1.94.0`, for each field that differs.
    fn difference(&self, here: &Self) -> Option<String> {
        if *self == Self::default() {
            return None; // There is no table yet.
        }
        let pairs = self.fields().into_iter().zip(here.fields());
        let differing: Vec<String> = pairs
            .filter(|(theirs, ours)| theirs != ours)
            .map(|((name, theirs), (_, ours))| format!("{name} `{ours}` instead of `{theirs}`"))
            .collect();
        (!differing.is_empty()).then(|| differing.join(", "))
    }
}

impl Comparison {
    /// Compares the counts of all paths with the table.
    pub(crate) fn new(
        table: &Table,
        here: &Environment,
        counted: &[(String, Option<u64>)],
    ) -> Self {
        let line = |(path, counted): &(String, Option<u64>)| Line {
            path: path.clone(),
            counted: *counted,
            expected: table.row(path).map(|row| row.instructions),
            verdict: counted.map_or(Verdict::Skipped, |count| table.judge(here, path, count)),
        };
        let mut lines: Vec<Line> = counted.iter().map(line).collect();
        let gone = |row: &&Row| !counted.iter().any(|(path, _)| *path == row.path);
        lines.extend(table.rows.iter().filter(gone).map(|row| Line {
            path: row.path.clone(),
            counted: None,
            expected: Some(row.instructions),
            verdict: Verdict::OneSided,
        }));
        let elsewhere = table.made_with.difference(here);
        Self { lines, elsewhere }
    }

    /// Fails where a path got worse, or is not in the table, or only there.
    pub(crate) fn outcome(&self) -> Result<(), String> {
        let problems: Vec<String> = self.lines.iter().filter_map(Line::problem).collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(problems.join("\n"))
    }
}

impl Line {
    fn problem(&self) -> Option<String> {
        let path = &self.path;
        match (self.counted, self.expected, self.verdict) {
            (Some(counted), Some(expected), Verdict::Worse(tolerance)) => Some(format!(
                "the path `{path}` takes {} instructions, {:.1} % more than the {} of \
                 `benches/counts.toml`; {tolerance} % are tolerated\n\n\
                 hint: `callgrind_annotate --inclusive=yes target/counts/callgrind/{path}.out` \
                 tells where they are\n\
                 hint: if it has to be so, `cargo xtask counts --update`, and say why in the commit",
                grouped(counted, ','),
                change(expected, counted),
                grouped(expected, ','),
            )),
            (Some(_), None, _) => Some(format!(
                "the path `{path}` is not in `benches/counts.toml`\n\nhint: cargo xtask counts --update"
            )),
            (None, _, Verdict::Skipped) => None,
            (None, Some(_), _) => Some(format!(
                "`benches/counts.toml` has the path `{path}`, which is gone\n\n\
                 hint: cargo xtask counts --update"
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |count: Option<u64>| count.map_or("-".to_owned(), |count| grouped(count, ','));
        writeln!(
            f,
            "{:<14}{:>14}{:>14}{:>10}",
            "path", "instructions", "expected", "change"
        )?;
        for line in &self.lines {
            let change = match (line.expected, line.counted) {
                (Some(expected), Some(counted)) => format!("{:+.2} %", change(expected, counted)),
                _ => "-".to_owned(),
            };
            let (counted, expected) = (shown(line.counted), shown(line.expected));
            writeln!(
                f,
                "{:<14}{counted:>14}{expected:>14}{change:>10}",
                line.path
            )?;
        }
        let skipped = |line: &&Line| line.verdict == Verdict::Skipped;
        for line in self.lines.iter().filter(skipped) {
            let path = &line.path;
            writeln!(
                f,
                "note: the path `{path}` was not counted: Valgrind does not know a system call \
                 that it needs"
            )?;
        }
        if let Some(difference) = &self.elsewhere {
            writeln!(
                f,
                "note: {difference}: tolerances are {ELSEWHERE} times as wide as in the table"
            )?;
        }
        for line in self
            .lines
            .iter()
            .filter(|line| line.verdict == Verdict::Better)
        {
            let path = &line.path;
            writeln!(
                f,
                "note: the path `{path}` got better; `cargo xtask counts --update` keeps it so"
            )?;
        }
        Ok(())
    }
}

/// The sum of all threads in a file of Callgrind's.
pub(crate) fn total(profile: &str) -> Option<u64> {
    let line = profile.lines().find_map(|line| {
        line.strip_prefix("totals: ")
            .or(line.strip_prefix("summary: "))
    })?;
    line.trim().parse().ok()
}

/// The first CPU of `Cpus_allowed_list` in `/proc/self/status`.
pub(crate) fn first_cpu(status: &str) -> Option<&str> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split([',', '-']).next()
}

/// The widest vectors that Valgrind shows to programs on a machine with this `/proc/cpuinfo`:
/// libraries choose their code by that, and it knows none above AVX2.
pub(crate) fn processor(cpuinfo: &str) -> &'static str {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    let has = |name: &str| flags.is_some_and(|flags| flags.split(' ').any(|flag| flag == name));
    ["avx2", "avx", "sse4_2", "ssse3"]
        .into_iter()
        .find(|name| has(name))
        .unwrap_or("none")
}

/// By how many percent `new` is more than `old`.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts are far below 2⁵², and percents are rounded anyway"
)]
fn change(old: u64, new: u64) -> f64 {
    (new as f64 / old.max(1) as f64 - 1.0) * 100.0
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
