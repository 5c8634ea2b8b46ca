//! From rules to classic BPF.

use std::collections::BTreeMap;

use kiln_sys::sandbox::BpfInstruction;

use crate::capabilities::CapabilitySet;

use super::profile::{Condition, RULES, Then};
use super::syscalls::TABLE;
use super::{Architecture, Family};

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// x32 calls are x86-64 calls with this bit.
const X32_BIT: u32 = 0x4000_0000;

/// Numbers from here on are arm's private calls, far above the common ones.
const ARM_PRIVATE: u32 = 0x000f_0000;

// Operations of classic BPF, and the layout of `struct seccomp_data`: seccomp(2).
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
const RETURN_ALLOW: u32 = 0x7fff_0000;
const RETURN_ERRNO: u32 = 0x0005_0000;
const RETURN_KILL_PROCESS: u32 = 0x8000_0000;

impl Architecture {
    const fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X32 => 1,
            Self::I386 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
        }
    }

    const fn number_base(self) -> u32 {
        match self {
            Self::X32 => X32_BIT,
            _ => 0,
        }
    }
}

impl Family {
    /// The sections of the filter: the kernel's `AUDIT_ARCH_*` value and the interfaces behind it.
    const fn sections(self) -> [(u32, &'static [Architecture]); 2] {
        match self {
            Self::X86 => [
                (0xc000_003e, &[Architecture::X86_64, Architecture::X32]),
                (0x4000_0003, &[Architecture::I386]),
            ],
            Self::Arm => [
                (0xc000_00b7, &[Architecture::Aarch64]),
                (0x4000_0028, &[Architecture::Arm]),
            ],
        }
    }
}

pub(super) fn compile(family: Family, capabilities: CapabilitySet) -> Vec<BpfInstruction> {
    let mut program = vec![statement(LOAD_WORD, ARCHITECTURE)];
    for (audit_architecture, architectures) in family.sections() {
        let ranges = ranges(architectures, capabilities);
        let search = search(&ranges);
        // On another architecture, step over the section.
        program.push(branch(JUMP_IF_EQUAL, audit_architecture, 1, 0));
        program.push(statement(JUMP, length(&search) + 1));
        program.push(statement(LOAD_WORD, NUMBER));
        program.extend(search);
    }
    program.push(statement(RETURN, RETURN_KILL_PROCESS));
    program
}

/// What happens to the calls from each number up to the next entry.
fn ranges(architectures: &[Architecture], capabilities: CapabilitySet) -> Vec<(u32, Then)> {
    let mut ranges = Vec::new();
    let mut push = |from: u32, then: Then| match ranges.last_mut() {
        Some((last, slot)) if *last == from => *slot = then,
        _ => ranges.push((from, then)),
    };
    for &architecture in architectures {
        let base = architecture.number_base();
        push(base, Then::Fail(EPERM));
        let verdicts = verdicts(architecture, capabilities);
        let highest = highest_number(architecture);
        for (number, then) in verdicts {
            if number >= ARM_PRIVATE {
                // Between the common and the private calls there is nothing.
                push(base + highest + 1, Then::Fail(ENOSYS));
            }
            push(base + number, then);
            let next = if number > highest {
                Then::Fail(ENOSYS)
            } else {
                Then::Fail(EPERM)
            };
            push(base + number + 1, next);
        }
        push(base + highest + 1, Then::Fail(ENOSYS));
    }
    ranges.dedup_by(|next, previous| next.1 == previous.1);
    ranges
}

fn verdicts(architecture: Architecture, capabilities: CapabilitySet) -> BTreeMap<u32, Then> {
    let mut verdicts = BTreeMap::new();
    let rules = RULES
        .iter()
        .filter(|rule| rule.when.holds(architecture, capabilities));
    for rule in rules {
        for name in rule.calls.split_ascii_whitespace() {
            if let Some(number) = number(name, architecture) {
                verdicts.insert(number, rule.then);
            }
        }
    }
    verdicts
}

/// The number of a call, less [`X32_BIT`]; `None` where the architecture does not have it.
pub(super) fn number(name: &str, architecture: Architecture) -> Option<u32> {
    let row = TABLE
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()?;
    u32::try_from(TABLE[row].1[architecture.column()]).ok()
}

/// The newest call that the table knows: what is above was not there when the profile was made.
fn highest_number(architecture: Architecture) -> u32 {
    let numbers = TABLE
        .iter()
        .filter_map(|(_, numbers)| u32::try_from(numbers[architecture.column()]).ok());
    // The x32 duplicates of old calls (512 to 547) lie above the newest common ones.
    numbers
        .filter(|number| *number < ARM_PRIVATE)
        .max()
        .unwrap_or(0)
}

/// A binary search for the range that the number in the accumulator is in.
fn search(ranges: &[(u32, Then)]) -> Vec<BpfInstruction> {
    match ranges {
        [] => vec![fail(EPERM)],
        [(_, then)] => leaf(*then),
        _ => {
            let (left, right) = ranges.split_at(ranges.len() / 2);
            let boundary = right[0].0;
            let (left, right) = (search(left), search(right));
            let mut program = match u8::try_from(left.len()) {
                Ok(distance) => vec![branch(JUMP_IF_AT_LEAST, boundary, distance, 0)],
                // Too far for a conditional jump.
                Err(_) => vec![
                    branch(JUMP_IF_AT_LEAST, boundary, 0, 1),
                    statement(JUMP, length(&left)),
                ],
            };
            program.extend(left);
            program.extend(right);
            program
        }
    }
}

fn leaf(then: Then) -> Vec<BpfInstruction> {
    match then {
        Then::Allow => vec![statement(RETURN, RETURN_ALLOW)],
        Then::Fail(errno) => vec![fail(errno)],
        Then::AllowIf(conditions) => {
            let mut program: Vec<_> = conditions.iter().flat_map(|one| allow_if(*one)).collect();
            program.push(fail(EPERM));
            program
        }
    }
}

/// Returns "allow" if the condition holds, and goes on behind itself otherwise.
fn allow_if(condition: Condition) -> Vec<BpfInstruction> {
    let allow = statement(RETURN, RETURN_ALLOW);
    match condition {
        Condition::Equals(index, value) => vec![
            statement(LOAD_WORD, high_half(index)),
            branch(JUMP_IF_EQUAL, (value >> 32) as u32, 0, 3),
            statement(LOAD_WORD, low_half(index)),
            branch(JUMP_IF_EQUAL, (value & 0xffff_ffff) as u32, 0, 1),
            allow,
        ],
        Condition::NoneOf(index, bits) => vec![
            statement(LOAD_WORD, low_half(index)),
            branch(JUMP_IF_ANY_BIT, bits, 1, 0),
            allow,
        ],
        Condition::Within(index, ranges) => {
            let tests: Vec<_> = ranges
                .iter()
                .flat_map(|(first, last)| {
                    [
                        branch(JUMP_IF_AT_LEAST, *first, 0, 2),
                        branch(JUMP_IF_GREATER, *last, 1, 0),
                        allow,
                    ]
                })
                .collect();
            let mut program = vec![
                statement(LOAD_WORD, high_half(index)),
                branch(JUMP_IF_EQUAL, 0, 1, 0),
                statement(JUMP, length(&tests) + 1),
                statement(LOAD_WORD, low_half(index)),
            ];
            program.extend(tests);
            program
        }
    }
}

// Both families are little-endian: the low half of an argument comes first.

fn low_half(index: u8) -> u32 {
    ARGUMENTS + 8 * u32::from(index)
}

fn high_half(index: u8) -> u32 {
    low_half(index) + 4
}

fn fail(errno: u16) -> BpfInstruction {
    statement(RETURN, RETURN_ERRNO | u32::from(errno))
}

fn length(program: &[BpfInstruction]) -> u32 {
    // A whole filter is a few hundred instructions; the kernel takes 4096.
    u32::try_from(program.len()).unwrap_or(u32::MAX)
}

const fn statement(code: u16, k: u32) -> BpfInstruction {
    branch(code, k, 0, 0)
}

const fn branch(code: u16, k: u32, jt: u8, jf: u8) -> BpfInstruction {
    BpfInstruction { code, jt, jf, k }
}
