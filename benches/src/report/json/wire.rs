//! The documents' own types, and how they follow from the model's and become them again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model;

#[derive(Serialize, Deserialize)]
pub(super) struct Report {
    version: u32,
    machine: Machine,
    programs: Vec<ProgramFacts>,
    workloads: Vec<Table>,
    growths: Vec<Growth>,
    left_out: Vec<LeftOut>,
}

#[derive(Serialize, Deserialize)]
struct Machine {
    date: String,
    processor: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    system: String,
    file_system: String,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Program {
    Kiln,
    KilnRootless,
    Buildkit,
    Docker,
    Buildah,
    Kaniko,
    Builderd,
    Mkfs,
}

#[derive(Serialize, Deserialize)]
struct ProgramFacts {
    program: Program,
    version: Version,
    settings: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Version {
    Found(String),
    NotCompared(String),
}

#[derive(Serialize, Deserialize)]
struct Table {
    name: String,
    letter: char,
    title: String,
    notes: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measured_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
    /// The number of equal parts that figures are of; absent if they are of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<u32>,
    rows: Vec<Row>,
    targets: Vec<Target>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    program: Program,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measured_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
    samples: Vec<Sample>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    figure: Option<Sample>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    times_kiln: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Sample {
    wall_ns: u64,
    cpu_ns: u64,
    peak_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Target {
    program: Program,
    goal: Goal,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    reached: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Goal {
    TimesFaster(f64),
    AtMostNs(u64),
    AtMostBytes(u64),
}

#[derive(Serialize, Deserialize)]
struct Growth {
    name: String,
    axis: String,
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measured_on: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Machine>,
    curves: Vec<Curve>,
}

#[derive(Serialize, Deserialize)]
struct Curve {
    name: String,
    points: Vec<Point>,
}

#[derive(Serialize, Deserialize)]
struct Point {
    size: u64,
    cost: Sample,
}

#[derive(Serialize, Deserialize)]
struct LeftOut {
    what: String,
    why: String,
}

impl Report {
    pub(super) fn of(report: &model::Report) -> Self {
        let left_out = report.left_out.iter().map(|left_out| LeftOut {
            what: left_out.what.clone(),
            why: left_out.why.clone(),
        });
        let head = &report.machine;
        let tables = report.tables.iter();
        let growths = report.growths.iter();
        Self {
            version: super::VERSION,
            machine: Machine::of(&report.machine),
            programs: report.programs.iter().map(ProgramFacts::of).collect(),
            workloads: tables.map(|table| Table::of(table, head)).collect(),
            growths: growths.map(|growth| Growth::of(growth, head)).collect(),
            left_out: left_out.collect(),
        }
    }

    pub(super) fn into_model(self) -> model::Report {
        let left_out = self.left_out.into_iter().map(|left_out| model::LeftOut {
            what: left_out.what,
            why: left_out.why,
        });
        let programs = self.programs.into_iter();
        let machine = self.machine.into_model();
        let tables = self.workloads.into_iter();
        let growths = self.growths.into_iter();
        model::Report {
            programs: programs.map(ProgramFacts::into_model).collect(),
            tables: tables.map(|table| table.into_model(&machine)).collect(),
            growths: growths.map(|growth| growth.into_model(&machine)).collect(),
            left_out: left_out.collect(),
            machine,
        }
    }
}

impl Machine {
    fn of(machine: &model::Machine) -> Self {
        Self {
            date: machine.date.clone(),
            processor: machine.processor.clone(),
            cores: machine.cores,
            memory_bytes: machine.memory,
            kernel: machine.kernel.clone(),
            system: machine.system.clone(),
            file_system: machine.file_system.clone(),
        }
    }

    fn into_model(self) -> model::Machine {
        model::Machine {
            date: self.date,
            processor: self.processor,
            cores: self.cores,
            memory: self.memory_bytes,
            kernel: self.kernel,
            system: self.system,
            file_system: self.file_system,
        }
    }
}

/// The day and, if it is not the report's, the machine of a part of a report.
struct Measured {
    on: Option<String>,
    machine: Option<Machine>,
}

impl Measured {
    fn of(machine: Option<&model::Machine>, head: &model::Machine) -> Self {
        let on_that_day = |machine: &model::Machine| model::Machine {
            date: machine.date.clone(),
            ..head.clone()
        };
        let other = machine.filter(|machine| on_that_day(machine) != **machine);
        Self {
            on: machine.map(|machine| machine.date.clone()),
            machine: other.map(Machine::of),
        }
    }

    fn into_model(self, head: &model::Machine) -> Option<model::Machine> {
        let machine = self.machine.map(Machine::into_model);
        let date = self
            .on
            .or_else(|| machine.as_ref().map(|it| it.date.clone()))?;
        let machine = machine.unwrap_or_else(|| head.clone());
        Some(model::Machine { date, ..machine })
    }
}

impl Program {
    const fn of(program: model::Program) -> Self {
        match program {
            model::Program::Kiln => Self::Kiln,
            model::Program::KilnRootless => Self::KilnRootless,
            model::Program::BuildKit => Self::Buildkit,
            model::Program::Docker => Self::Docker,
            model::Program::Buildah => Self::Buildah,
            model::Program::Kaniko => Self::Kaniko,
            model::Program::Builderd => Self::Builderd,
            model::Program::Mkfs => Self::Mkfs,
        }
    }

    const fn into_model(self) -> model::Program {
        match self {
            Self::Kiln => model::Program::Kiln,
            Self::KilnRootless => model::Program::KilnRootless,
            Self::Buildkit => model::Program::BuildKit,
            Self::Docker => model::Program::Docker,
            Self::Buildah => model::Program::Buildah,
            Self::Kaniko => model::Program::Kaniko,
            Self::Builderd => model::Program::Builderd,
            Self::Mkfs => model::Program::Mkfs,
        }
    }
}

impl ProgramFacts {
    fn of(facts: &model::ProgramFacts) -> Self {
        Self {
            program: Program::of(facts.program),
            version: match &facts.version {
                Ok(version) => Version::Found(version.clone()),
                Err(why) => Version::NotCompared(why.clone()),
            },
            settings: facts.settings.clone(),
        }
    }

    fn into_model(self) -> model::ProgramFacts {
        model::ProgramFacts {
            program: self.program.into_model(),
            version: match self.version {
                Version::Found(version) => Ok(version),
                Version::NotCompared(why) => Err(why),
            },
            settings: self.settings,
        }
    }
}

impl Table {
    fn of(table: &model::Table, head: &model::Machine) -> Self {
        let targets = table.targets.iter();
        let measured = Measured::of(Some(table.measured.as_ref().unwrap_or(head)), head);
        Self {
            name: table.name.clone(),
            letter: table.letter,
            title: table.title.clone(),
            notes: table.notes.clone(),
            measured_on: measured.on,
            machine: measured.machine,
            parts: match table.unit {
                model::Unit::Whole => None,
                model::Unit::Part(parts) => Some(parts),
            },
            rows: table
                .rows
                .iter()
                .map(|row| Row::of(table, row, head))
                .collect(),
            targets: targets.map(|target| Target::of(table, target)).collect(),
        }
    }

    fn into_model(self, head: &model::Machine) -> model::Table {
        let measured = Measured {
            on: self.measured_on,
            machine: self.machine,
        };
        let rows = self.rows.into_iter();
        model::Table {
            name: self.name,
            letter: self.letter,
            title: self.title,
            notes: self.notes,
            unit: self.parts.map_or(model::Unit::Whole, model::Unit::Part),
            measured: measured.into_model(head).filter(|it| it != head),
            rows: rows.map(|row| row.into_model(head)).collect(),
            targets: self.targets.iter().map(Target::to_model).collect(),
        }
    }
}

impl Row {
    fn of(table: &model::Table, row: &model::Row, head: &model::Machine) -> Self {
        let measured = Measured::of(row.measured.as_ref(), head);
        Self {
            program: Program::of(row.program),
            measured_on: measured.on,
            machine: measured.machine,
            samples: row.samples.iter().map(Sample::of).collect(),
            failure: row.failure.clone(),
            figure: row.figure(table.unit).as_ref().map(Sample::of),
            times_kiln: table.times_kiln(row),
        }
    }

    fn into_model(self, head: &model::Machine) -> model::Row {
        let measured = Measured {
            on: self.measured_on,
            machine: self.machine,
        };
        model::Row {
            measured: measured.into_model(head),
            program: self.program.into_model(),
            samples: self.samples.iter().map(Sample::to_model).collect(),
            failure: self.failure,
        }
    }
}

impl Sample {
    fn of(sample: &model::Sample) -> Self {
        Self {
            wall_ns: nanos(sample.wall),
            cpu_ns: nanos(sample.cpu),
            peak_bytes: sample.peak,
            read_bytes: sample.read,
            written_bytes: sample.written,
        }
    }

    const fn to_model(&self) -> model::Sample {
        model::Sample {
            wall: Duration::from_nanos(self.wall_ns),
            cpu: Duration::from_nanos(self.cpu_ns),
            peak: self.peak_bytes,
            read: self.read_bytes,
            written: self.written_bytes,
        }
    }
}

impl Target {
    fn of(table: &model::Table, target: &model::Target) -> Self {
        let (program, goal) = match *target {
            model::Target::Times(program, times) => (program, Goal::TimesFaster(times)),
            model::Target::AtMost(program, time) => (program, Goal::AtMostNs(nanos(time))),
            model::Target::Memory(program, bytes) => (program, Goal::AtMostBytes(bytes)),
        };
        Self {
            program: Program::of(program),
            goal,
            reached: table.outcome(target).map(|outcome| outcome.reached),
        }
    }

    const fn to_model(&self) -> model::Target {
        let program = self.program.into_model();
        match self.goal {
            Goal::TimesFaster(times) => model::Target::Times(program, times),
            Goal::AtMostNs(nanos) => model::Target::AtMost(program, Duration::from_nanos(nanos)),
            Goal::AtMostBytes(bytes) => model::Target::Memory(program, bytes),
        }
    }
}

impl Growth {
    fn of(growth: &model::Growth, head: &model::Machine) -> Self {
        let measured = Measured::of(Some(growth.measured.as_ref().unwrap_or(head)), head);
        let curves = growth.curves.iter().map(|curve| Curve {
            name: curve.name.clone(),
            points: curve
                .points
                .iter()
                .map(|(size, sample)| Point {
                    size: *size,
                    cost: Sample::of(sample),
                })
                .collect(),
        });
        Self {
            name: growth.name.clone(),
            axis: growth.axis.clone(),
            title: growth.title.clone(),
            measured_on: measured.on,
            machine: measured.machine,
            curves: curves.collect(),
        }
    }

    fn into_model(self, head: &model::Machine) -> model::Growth {
        let measured = Measured {
            on: self.measured_on,
            machine: self.machine,
        };
        let curves = self.curves.into_iter().map(|curve| model::Curve {
            name: curve.name,
            points: curve
                .points
                .iter()
                .map(|point| (point.size, point.cost.to_model()))
                .collect(),
        });
        model::Growth {
            name: self.name,
            axis: self.axis,
            title: self.title,
            measured: measured.into_model(head).filter(|it| it != head),
            curves: curves.collect(),
        }
    }
}

/// Five centuries are enough for a build.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
