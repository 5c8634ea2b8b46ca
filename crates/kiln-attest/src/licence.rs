//! What a package says of its licence, as SPDX writes it.
//!
//! Packages say an SPDX expression, a name of their distribution's or anything else. What is not
//! made of names that SPDX knows becomes a reference to the text as it stood.

use kiln_oci::Digest;

/// A licence as a document can say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Licence {
    /// An expression of names that SPDX knows, and of references to texts that it doesn't.
    pub(crate) expression: String,
    /// The references in the expression, and their texts.
    pub(crate) others: Vec<(String, String)>,
}

/// The longest text that is read as an expression, in bytes.
const MAX_EXPRESSION: usize = 1024;

/// The names in common use of SPDX's list of licences.
#[rustfmt::skip]
const KNOWN: &[&str] = &[
    "0BSD", "AFL-2.1", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-1.0", "Apache-1.1",
    "Apache-2.0", "APSL-2.0", "Artistic-1.0", "Artistic-1.0-Perl", "Artistic-2.0", "BlueOak-1.0.0",
    "BSD-1-Clause", "BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause", "BSD-3-Clause-Clear",
    "BSD-3-Clause-LBNL", "BSD-4-Clause", "BSD-4-Clause-UC", "BSL-1.0", "bzip2-1.0.6",
    "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "CDDL-1.0", "CDDL-1.1",
    "CDLA-Permissive-2.0", "CECILL-2.1", "CPL-1.0", "curl", "ECL-2.0", "EFL-2.0", "EPL-1.0",
    "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "FSFAP", "FSFUL", "FSFULLR", "FTL", "GFDL-1.1-only",
    "GFDL-1.1-or-later", "GFDL-1.2-only", "GFDL-1.2-or-later", "GFDL-1.3-only",
    "GFDL-1.3-or-later", "GFDL-1.3-no-invariants-or-later", "GPL-1.0-only", "GPL-1.0-or-later",
    "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "HPND",
    "HPND-sell-variant", "ICU", "IJG", "ImageMagick", "Info-ZIP", "Intel", "IPL-1.0", "ISC",
    "JSON", "LGPL-2.0-only", "LGPL-2.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later",
    "LGPL-3.0-only", "LGPL-3.0-or-later", "Libpng", "libpng-2.0", "libtiff", "LPL-1.02",
    "LPPL-1.3c", "MIT", "MIT-0", "MIT-CMU", "MIT-Modern-Variant", "MPL-1.1", "MPL-2.0",
    "MPL-2.0-no-copyleft-exception", "MS-PL", "MulanPSL-2.0", "NCSA", "Net-SNMP", "NTP", "OFL-1.0",
    "OFL-1.1", "OGL-UK-3.0", "OLDAP-2.8", "OpenSSL", "OSL-2.1", "OSL-3.0", "PHP-3.0", "PHP-3.01",
    "PostgreSQL", "PSF-2.0", "Python-2.0", "Python-2.0.1", "QPL-1.0", "Ruby", "SGI-B-2.0",
    "SISSL", "Sleepycat", "SMLNJ", "SSPL-1.0", "TCL", "TCP-wrappers", "Unicode-3.0",
    "Unicode-DFS-2015", "Unicode-DFS-2016", "Unlicense", "UPL-1.0", "Vim", "W3C", "WTFPL", "X11",
    "XFree86-1.1", "Zend-2.0", "Zlib", "zlib-acknowledgement", "ZPL-2.0", "ZPL-2.1",
];

/// The names in common use of SPDX's list of exceptions.
#[rustfmt::skip]
const EXCEPTIONS: &[&str] = &[
    "Autoconf-exception-2.0", "Autoconf-exception-3.0", "Bison-exception-2.2",
    "Classpath-exception-2.0", "GCC-exception-2.0", "GCC-exception-3.1", "Font-exception-2.0",
    "LGPL-3.0-linking-exception", "Libtool-exception", "Linux-syscall-note", "LLVM-exception",
    "OpenSSL-exception", "openvpn-openssl-exception", "Qt-GPL-exception-1.0",
    "u-boot-exception-2.0", "WxWindows-exception-3.1",
];

/// Other people's names for licences of the list.
#[rustfmt::skip]
const ALIASES: &[(&str, &str)] = &[
    ("agpl-3", "AGPL-3.0-only"), ("agpl-3+", "AGPL-3.0-or-later"), ("agpl-3.0", "AGPL-3.0-only"),
    ("apache", "Apache-2.0"), ("apache 2.0", "Apache-2.0"), ("apache-2", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"), ("apache license, version 2.0", "Apache-2.0"),
    ("apache software license", "Apache-2.0"), ("artistic", "Artistic-1.0-Perl"),
    ("artistic-2", "Artistic-2.0"), ("bsd-2", "BSD-2-Clause"), ("bsd-3", "BSD-3-Clause"),
    ("bsd 2-clause", "BSD-2-Clause"), ("bsd 3-clause", "BSD-3-Clause"), ("cc0", "CC0-1.0"),
    ("expat", "MIT"), ("gfdl-1.2", "GFDL-1.2-only"), ("gfdl-1.2+", "GFDL-1.2-or-later"),
    ("gfdl-1.3", "GFDL-1.3-only"), ("gfdl-1.3+", "GFDL-1.3-or-later"),
    ("gfdl-niv-1.3+", "GFDL-1.3-no-invariants-or-later"), ("gpl-1", "GPL-1.0-only"),
    ("gpl-1+", "GPL-1.0-or-later"), ("gpl-2", "GPL-2.0-only"), ("gpl-2+", "GPL-2.0-or-later"),
    ("gpl-2.0", "GPL-2.0-only"), ("gpl-2.0+", "GPL-2.0-or-later"), ("gpl-3", "GPL-3.0-only"),
    ("gpl-3+", "GPL-3.0-or-later"), ("gpl-3.0", "GPL-3.0-only"), ("gpl-3.0+", "GPL-3.0-or-later"),
    ("gplv2", "GPL-2.0-only"), ("gplv2+", "GPL-2.0-or-later"), ("gplv3", "GPL-3.0-only"),
    ("gplv3+", "GPL-3.0-or-later"), ("isc license", "ISC"), ("lgpl-2", "LGPL-2.0-only"),
    ("lgpl-2+", "LGPL-2.0-or-later"), ("lgpl-2.0+", "LGPL-2.0-or-later"),
    ("lgpl-2.1", "LGPL-2.1-only"), ("lgpl-2.1+", "LGPL-2.1-or-later"), ("lgpl-3", "LGPL-3.0-only"),
    ("lgpl-3+", "LGPL-3.0-or-later"), ("lgpl-3.0", "LGPL-3.0-only"),
    ("lgpl-3.0+", "LGPL-3.0-or-later"), ("lgplv2+", "LGPL-2.0-or-later"),
    ("lgplv2.1+", "LGPL-2.1-or-later"), ("lgplv3+", "LGPL-3.0-or-later"), ("mit license", "MIT"),
    ("mit-license", "MIT"), ("the mit license", "MIT"), ("mpl-1.1", "MPL-1.1"),
    ("mozilla public license 2.0 (mpl 2.0)", "MPL-2.0"), ("psf", "PSF-2.0"), ("zpl 2.1", "ZPL-2.1"),
    ("zlib/libpng", "Zlib"),
];

/// What `text` says.
pub(crate) fn read(text: &str) -> Licence {
    let text = text.trim();
    if let Some(name) = alias(text) {
        return Licence {
            expression: name.to_owned(),
            others: Vec::new(),
        };
    }
    expression(text).unwrap_or_else(|| {
        let reference = reference(text);
        Licence {
            expression: reference.clone(),
            others: vec![(reference, text.to_owned())],
        }
    })
}

/// A name to refer to a licence by that SPDX does not know.
fn reference(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if text.len() <= 40 && !text.is_empty() && text.chars().all(plain) {
        return format!("LicenseRef-{text}");
    }
    let name: String = text
        .chars()
        .take(40)
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    let digest = Digest::sha256(text.as_bytes());
    let short = digest.hex().get(..12).unwrap_or_default();
    format!("LicenseRef-{}-{short}", name.trim_matches('-'))
}

/// The name that SPDX has for `name`.
pub(crate) fn alias(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let other = ALIASES.iter().find(|(alias, _)| *alias == lower);
    let own = || known(KNOWN, name);
    other.map(|(_, spdx)| *spdx).or_else(own)
}

fn known(list: &[&'static str], name: &str) -> Option<&'static str> {
    let mut names = list.iter();
    names
        .find(|known| known.eq_ignore_ascii_case(name))
        .copied()
}

/// A text made of single words, operators and parentheses, in SPDX's spelling.
fn expression(text: &str) -> Option<Licence> {
    if text.len() > MAX_EXPRESSION {
        return None;
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut out = String::new();
    let mut others: Vec<(String, String)> = Vec::new();
    let mut depth = 0_usize;
    // An operand is due at the start, after an operator and after `(`.
    let mut operand_due = true;
    let mut words = spaced.split_whitespace();
    while let Some(word) = words.next() {
        match (word.to_ascii_uppercase().as_str(), operand_due) {
            ("(", true) => {
                depth += 1;
                out.push('(');
            }
            (")", false) => {
                depth = depth.checked_sub(1)?;
                out.push(')');
            }
            (operator @ ("AND" | "OR"), false) => {
                out.push(' ');
                out.push_str(operator);
                out.push(' ');
                operand_due = true;
            }
            ("AND" | "OR" | "WITH" | ")", true) => return None,
            ("WITH", false) => {
                let exception = known(EXCEPTIONS, words.next()?)?;
                // Only a licence that SPDX knows can have an exception that it knows.
                if out.ends_with(')') || others.iter().any(|(name, _)| out.ends_with(name.as_str()))
                {
                    return None;
                }
                out.push_str(" WITH ");
                out.push_str(exception);
            }
            (_, true) => {
                match alias(word) {
                    Some(name) => out.push_str(name),
                    None => {
                        let reference = reference(word);
                        out.push_str(&reference);
                        others.push((reference, word.to_owned()));
                    }
                }
                operand_due = false;
            }
            _ => return None,
        }
    }
    (depth == 0 && !operand_due).then_some(Licence {
        expression: out,
        others,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = read(text);
        let mut said = found.expression;
        for (reference, text) in found.others {
            assert!(said.contains(&reference));
            said = format!("{said}; {text}");
        }
        assert_eq!(said, expected);
    }

    #[test]
    fn expressions_are_spelled_as_spdx_spells_them() {
        check("mit", "MIT");
        check("GPL-2+", "GPL-2.0-or-later");
        check("MIT OR apache-2.0", "MIT OR Apache-2.0");
        check("(mit and Zlib) or ISC", "(MIT AND Zlib) OR ISC");
        check(
            "GPL-2.0-or-later WITH classpath-exception-2.0",
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
        );
    }

    #[test]
    fn anything_else_is_referred_to() {
        check("Beerware", "LicenseRef-Beerware; Beerware");
        check(
            "MIT AND public-domain",
            "MIT AND LicenseRef-public-domain; public-domain",
        );
        check("MIT OR", "LicenseRef-MIT-OR-6e0fcfbdb26a; MIT OR");
        check("(MIT", "LicenseRef-MIT-81cb5ffc597e; (MIT");
        check("MIT MIT", "LicenseRef-MIT-MIT-0e2058764543; MIT MIT");
        check(
            "\u{1b}[31mLICENSE",
            "LicenseRef-31mLICENSE-68b21739b9a9; \u{1b}[31mLICENSE",
        );
    }
}
