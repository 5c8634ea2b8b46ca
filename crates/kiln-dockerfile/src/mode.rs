//! The value of `--chmod`: octal, or symbolic as `chmod(1)` has it.
//!
//! Symbolic modes follow the BSD `setmode` rules, as BuildKit does, with an empty umask: a clause
//! without `u`, `g`, `o` or `a` means everyone.

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const USER: u32 = SET_UID | 0o700;
const GROUP: u32 = SET_GID | 0o070;
const OTHER: u32 = 0o007;
const EVERYONE: u32 = USER | GROUP | OTHER;
const EXECUTE: u32 = 0o111;

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// All bits at once, `0` to `0o7777`.
    Octal(u32),
    /// Edits, applied in order.
    Symbolic(Vec<Edit>),
}

/// One edit of a symbolic mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// These bits are cleared.
    Clear(u32),
    /// These bits are set.
    Set(u32),
    /// These bits are set on directories, and on files that anyone could execute before.
    SetIfExecutable(u32),
    /// The three bits of one class are given to, or taken from, others (`g=u`).
    Copy {
        /// How far the class's bits are shifted: 6, 3 or 0.
        from: u32,
        /// The bits of the classes that change.
        to: u32,
        /// How they change.
        how: Change,
    },
}

/// The operator of a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `+`
    Add,
    /// `-`
    Remove,
    /// `=`
    Assign,
}

/// A text that is not a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// It begins with a digit and is not octal or too large.
    #[error("invalid mode `{0}`: it has to be octal and at most 7777")]
    Octal(String),
    /// It is not a symbolic mode.
    #[error("invalid mode `{0}`")]
    Symbolic(String),
}

impl Mode {
    /// The mode of a file that had the permission bits `mode` (`0` to `0o7777`) before.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(edits) => {
                let executable = is_dir || mode & EXECUTE != 0;
                edits
                    .iter()
                    .fold(mode, |now, edit| edit.apply(now, executable))
            }
        }
    }
}

impl Edit {
    fn apply(self, mode: u32, executable: bool) -> u32 {
        match self {
            Self::Clear(bits) => mode & !bits,
            Self::Set(bits) => mode | bits,
            Self::SetIfExecutable(bits) if executable => mode | bits,
            Self::SetIfExecutable(_) => mode,
            Self::Copy { from, to, how } => {
                let class = mode >> from & 0o7;
                let spread = (class << 6 | class << 3 | class) & to;
                match how {
                    Change::Add => mode | spread,
                    Change::Remove => mode & !spread,
                    Change::Assign => mode & !to | spread,
                }
            }
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => Ok(Self::Octal(mode)),
                _ => Err(ModeError::Octal(text.to_owned())),
            };
        }
        let mut edits = Vec::new();
        let understood = text
            .split(',')
            .all(|clause| parse_clause(clause, &mut edits).is_some());
        if understood {
            Ok(Self::Symbolic(edits))
        } else {
            Err(ModeError::Symbolic(text.to_owned()))
        }
    }
}

/// Reads `who op perms [op perms…]`; `None` where it is not a clause.
fn parse_clause(clause: &str, edits: &mut Vec<Edit>) -> Option<()> {
    let letters = clause.bytes().take_while(|byte| b"ugoa".contains(byte));
    let who = letters.clone().fold(0, |who, letter| who | class(letter));
    let mut rest = &clause[letters.count()..];
    loop {
        let change = match rest.bytes().next()? {
            b'+' => Change::Add,
            b'-' => Change::Remove,
            b'=' => Change::Assign,
            _ => return None,
        };
        let end = rest[1..]
            .find(['+', '-', '='])
            .map_or(rest.len(), |at| at + 1);
        parse_permissions(&rest[1..end], who, change, edits)?;
        rest = &rest[end..];
        if rest.is_empty() {
            return Some(());
        }
    }
}

fn class(letter: u8) -> u32 {
    match letter {
        b'u' => USER,
        b'g' => GROUP,
        b'o' => OTHER,
        _ => EVERYONE,
    }
}

/// Reads the letters after an operator. `who` is 0 where the clause names nobody.
fn parse_permissions(letters: &str, who: u32, change: Change, edits: &mut Vec<Edit>) -> Option<()> {
    let mut who = who;
    let mut bits = 0;
    let mut conditional = 0;
    let mut assigned = false;
    for letter in letters.bytes() {
        match letter {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= EXECUTE,
            b'X' if change == Change::Remove => bits |= EXECUTE,
            b'X' => conditional = EXECUTE,
            // Neither set-id nor sticky bits belong to others alone.
            b's' if who != OTHER => bits |= SET_UID | SET_GID,
            b't' if who != OTHER => {
                bits |= STICKY;
                who |= STICKY;
            }
            b's' | b't' => {}
            b'u' | b'g' | b'o' => {
                flush(edits, change, who, bits);
                if conditional != 0 {
                    edits.push(Edit::SetIfExecutable(limit(who, conditional)));
                }
                (bits, conditional, assigned) = (0, 0, change == Change::Assign);
                let from = match letter {
                    b'u' => 6,
                    b'g' => 3,
                    _ => 0,
                };
                let to = limit(who, 0o777);
                let how = change;
                edits.push(Edit::Copy { from, to, how });
            }
            _ => return None,
        }
    }
    if bits == 0 && change == Change::Assign && !assigned {
        edits.push(Edit::Clear(if who == 0 { EVERYONE } else { who }));
    }
    flush(edits, change, who, bits);
    if conditional != 0 {
        edits.push(Edit::SetIfExecutable(limit(who, conditional)));
    }
    Some(())
}

fn flush(edits: &mut Vec<Edit>, change: Change, who: u32, bits: u32) {
    if bits == 0 {
        return;
    }
    if change == Change::Assign {
        edits.push(Edit::Clear(if who == 0 { EVERYONE } else { who }));
    }
    let bits = limit(who, bits);
    edits.push(match change {
        Change::Remove => Edit::Clear(bits),
        Change::Add | Change::Assign => Edit::Set(bits),
    });
}

fn limit(who: u32, bits: u32) -> u32 {
    if who == 0 { bits } else { who & bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: &str, cases: &[(u32, bool, u32)]) {
        let parsed: Mode = mode.parse().unwrap();
        for &(before, is_dir, after) in cases {
            let got = parsed.apply(before, is_dir);
            assert_eq!(got, after, "{mode} on {before:o}: {got:o}, not {after:o}");
        }
    }

    #[test]
    fn octal_modes_replace_everything() {
        check("0755", &[(0, false, 0o755), (0o7777, true, 0o755)]);
        check("4711", &[(0o644, false, 0o4711)]);
        check("0", &[(0o644, false, 0)]);
    }

    #[test]
    fn symbolic_modes_edit() {
        check("u+x", &[(0o644, false, 0o744)]);
        check("+x", &[(0o644, false, 0o755)]);
        check("a-w", &[(0o777, false, 0o555)]);
        check("u=rw,go=r", &[(0o777, false, 0o644)]);
        check("=", &[(0o777, false, 0)]);
        check("=r", &[(0o7777, false, 0o1444)]);
        check("go=", &[(0o777, false, 0o700)]);
        check("u+rw-x", &[(0o100, false, 0o600)]);
    }

    #[test]
    fn capital_x_means_directories_and_what_is_executable() {
        check(
            "u=rwX,go=rX",
            &[
                (0o600, false, 0o644),
                (0o700, false, 0o755),
                (0o600, true, 0o755),
            ],
        );
        check("a-X", &[(0o755, false, 0o644)]);
    }

    #[test]
    fn classes_are_copied() {
        check("g=u", &[(0o740, false, 0o770)]);
        check("o+u", &[(0o741, false, 0o747)]);
        check("u-o", &[(0o705, false, 0o205)]);
        check("go=u", &[(0o600, false, 0o666)]);
    }

    #[test]
    fn special_bits() {
        check("u+s", &[(0o755, false, 0o4755)]);
        check("g+s", &[(0o755, false, 0o2755)]);
        check("+s", &[(0o755, false, 0o6755)]);
        check("+t", &[(0o777, true, 0o1777)]);
        check("o+t", &[(0o777, true, 0o777)]);
        check("u=", &[(0o4755, false, 0o055)]);
    }

    #[test]
    fn what_is_not_a_mode_is_refused() {
        for bad in [
            "", "8", "0o755", "77777", "u", "u+q", "u+x,", ",u+x", "z+x", "u x", "-",
        ] {
            let parsed = bad.parse::<Mode>();
            assert_eq!(parsed.is_err(), bad != "-", "{bad}: {parsed:?}");
        }
    }
}
