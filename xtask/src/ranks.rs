//! Which crate may use which: the ranks of ARCHITECTURE.md, checked against `cargo metadata`.

use serde_json::Value;

/// What a crate is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// May use crates of a lower rank, and nothing of its own rank or above.
    Rank(u8),
    /// Made for development: may use everything, and only tests may use it.
    Development,
}

/// Every crate of the workspace. A new crate, or a new edge that this table forbids, needs a line
/// in ARCHITECTURE.md that says why.
const RANKS: &[(&str, Place)] = &[
    ("kiln-base", Place::Rank(0)),
    ("kiln-oci", Place::Rank(0)),
    ("kiln-dockerfile", Place::Rank(0)),
    ("kiln-sys", Place::Rank(0)),
    ("kiln-graph", Place::Rank(1)),
    ("kiln-layer", Place::Rank(1)),
    ("kiln-disk", Place::Rank(1)),
    ("kiln-init", Place::Rank(1)),
    ("kiln-exec", Place::Rank(1)),
    ("kiln-tree", Place::Rank(1)),
    ("kiln-frontend", Place::Rank(2)),
    ("kiln-solve", Place::Rank(2)),
    ("kiln-image", Place::Rank(2)),
    ("kiln-store", Place::Rank(2)),
    ("kiln-registry", Place::Rank(3)),
    ("kiln-bootstrap", Place::Rank(3)),
    ("kiln-bake", Place::Rank(2)),
    ("kiln-attest", Place::Rank(2)),
    ("kiln-report", Place::Rank(2)),
    ("kiln-fetch", Place::Rank(3)),
    ("kiln-rootfs", Place::Rank(3)),
    ("kiln-cache", Place::Rank(4)),
    ("kiln-engine", Place::Rank(5)),
    ("kiln", Place::Rank(6)),
    ("testkit", Place::Development),
    ("kiln-tests", Place::Development),
    ("kiln-benches", Place::Development),
    ("kiln-counts", Place::Development),
    ("xtask", Place::Development),
];

/// External crates that open a door to the outside, and the only crates that may hold the key.
const DOORS: &[(&str, &[&str])] = &[
    ("libc", &["kiln-sys"]),
    ("rusqlite", &["kiln-store"]),
    ("clap", &["kiln"]),
    (
        "reqwest",
        &["kiln-registry", "kiln-fetch", "kiln-cache", "kiln-engine"],
    ),
];

/// One dependency of one crate of the workspace.
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    /// Used by tests only.
    development: bool,
}

/// Problems of the workspace's dependency edges, one sentence each.
pub(crate) fn problems(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut problems = Vec::new();
    for package in packages.iter().filter(|package| is_ours(package)) {
        let from = text(&package["name"]);
        if place(from).is_none() {
            problems.push(format!("crate `{from}` is not in the table of ranks"));
        }
        let dependencies = package["dependencies"].as_array();
        for dependency in dependencies.into_iter().flatten() {
            let edge = Edge {
                from,
                to: text(&dependency["name"]),
                development: text(&dependency["kind"]) == "dev",
            };
            problems.extend(check(&edge));
        }
    }
    problems
}

/// Whether a package is part of the workspace: those have no source.
pub(crate) fn is_ours(package: &Value) -> bool {
    package["source"].is_null()
}

fn place(name: &str) -> Option<Place> {
    let found = RANKS.iter().find(|(known, _)| *known == name);
    found.map(|(_, place)| *place)
}

fn check(edge: &Edge<'_>) -> Option<String> {
    let Edge {
        from,
        to,
        development,
    } = *edge;
    let from_place = place(from)?;
    if let Some((_, holders)) = DOORS.iter().find(|(door, _)| *door == to) {
        let allowed = holders.contains(&from) || from_place == Place::Development;
        return (!allowed).then(|| {
            let holders = holders.join("`, `");
            format!("`{from}` uses `{to}`, which is for `{holders}` only")
        });
    }
    match (from_place, place(to)?) {
        (Place::Development, _) => None,
        (Place::Rank(_), Place::Development) if development => None,
        (Place::Rank(_), Place::Development) => {
            Some(format!("`{from}` uses `{to}`, which only tests may use"))
        }
        (Place::Rank(above), Place::Rank(below)) if below < above => None,
        (Place::Rank(above), Place::Rank(below)) => Some(format!(
            "`{from}` (rank {above}) uses `{to}` (rank {below}): only lower ranks may be used"
        )),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_edge(from: &str, to: &str, kind: Option<&str>, expected: &[&str]) {
        let metadata = json!({ "packages": [{
            "name": from,
            "source": null,
            "dependencies": [{ "name": to, "kind": kind }],
        }]});
        assert_eq!(problems(&metadata), expected);
    }

    #[test]
    fn a_lower_rank_may_be_used() {
        check_edge("kiln-store", "kiln-oci", None, &[]);
    }

    #[test]
    fn a_sibling_may_not() {
        check_edge(
            "kiln-store",
            "kiln-image",
            None,
            &["`kiln-store` (rank 2) uses `kiln-image` (rank 2): only lower ranks may be used"],
        );
    }

    #[test]
    fn test_helpers_are_for_tests() {
        check_edge("kiln-oci", "testkit", Some("dev"), &[]);
        check_edge(
            "kiln-oci",
            "testkit",
            None,
            &["`kiln-oci` uses `testkit`, which only tests may use"],
        );
    }

    #[test]
    fn doors_have_holders() {
        check_edge("kiln-sys", "libc", None, &[]);
        check_edge(
            "kiln-exec",
            "libc",
            None,
            &["`kiln-exec` uses `libc`, which is for `kiln-sys` only"],
        );
    }

    #[test]
    fn an_unknown_crate_needs_a_rank() {
        check_edge(
            "kiln-new",
            "serde",
            None,
            &["crate `kiln-new` is not in the table of ranks"],
        );
    }
}
