//! Which names of a tree are taken: ignore files, `--exclude`, and the patterns of `--parents`.

use std::ffi::OsStr;
use std::path::Path;

use kiln_dockerfile::ignore::{Ignore, Matches};

/// What is taken of a tree. Paths of the ignore rules begin at the source's root, the others at the
/// tree's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filters<'a> {
    pub(crate) ignore: Option<&'a Ignore>,
    /// Where there are such patterns, only what they match is taken.
    pub(crate) include: Option<&'a Ignore>,
    pub(crate) exclude: &'a Ignore,
}

/// What the filters say of a directory: where they go on from for what is in it.
#[derive(Debug)]
pub(crate) struct Standing {
    ignore: Matches,
    include: Matches,
    exclude: Matches,
}

/// How a name is taken.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The directory is not selected itself, only what is below it.
    pub(crate) implied: bool,
    /// The directory is taken only if something below it is.
    pub(crate) only_with_content: bool,
    /// Of a directory: where its contents go on from.
    pub(crate) standing: Option<Standing>,
}

/// Paths of the names in one directory as text, in one piece of memory.
#[derive(Debug)]
pub(crate) struct PathText {
    text: String,
    /// Where names begin, and paths from the tree's root.
    name: usize,
    below: usize,
}

impl PathText {
    /// For the directory `below` the tree's root, which is `root` from the source's root.
    pub(crate) fn new(root: &Path, below: &Path) -> Self {
        let mut text = String::new();
        let mut push = |path: &Path| {
            if !path.as_os_str().is_empty() {
                text.push_str(&path.to_string_lossy());
                text.push('/');
            }
            text.len()
        };
        Self {
            below: push(root),
            name: push(below),
            text,
        }
    }

    /// The path of a name from the source's root, and from the tree's.
    fn of(&mut self, name: &OsStr) -> (&str, &str) {
        self.text.truncate(self.name);
        match name.to_str() {
            Some(name) => self.text.push_str(name),
            None => self.text.push_str(&name.to_string_lossy()),
        }
        (&self.text, &self.text[self.below..])
    }
}

impl Filters<'_> {
    /// What the filters say of the directory that the tree begins at, `root` from the source's
    /// root.
    pub(crate) fn standing_of(self, root: &Path) -> Standing {
        let nothing = || Ignore::default().root();
        let parents = root.ancestors();
        let parents = parents.filter(|path| !path.as_os_str().is_empty());
        let mut parents: Vec<_> = parents.collect();
        parents.reverse();
        Standing {
            ignore: self.ignore.map_or_else(nothing, |ignore| {
                parents.iter().fold(ignore.root(), |matches, path| {
                    ignore.enter(&matches, &path.to_string_lossy())
                })
            }),
            include: self.include.map_or_else(nothing, Ignore::root),
            exclude: self.exclude.root(),
        }
    }

    /// What the filters say about `name` in the directory that `paths` begin with; `None` to leave
    /// it out.
    pub(crate) fn judge(
        self,
        parent: &Standing,
        paths: &mut PathText,
        name: &OsStr,
        is_dir: bool,
    ) -> Option<Verdict> {
        if self.ignore.is_none() && self.include.is_none() && self.exclude.is_empty() {
            return Some(Verdict {
                implied: false,
                only_with_content: false,
                standing: is_dir.then(|| self.standing_of(Path::new(""))),
            });
        }
        let (from_source, below) = paths.of(name);
        if is_dir {
            self.judge_dir(parent, from_source, below)
        } else {
            self.takes_file(parent, from_source, below)
                .then_some(Verdict {
                    implied: false,
                    only_with_content: false,
                    standing: None,
                })
        }
    }

    fn takes_file(self, parent: &Standing, from_source: &str, below: &str) -> bool {
        let ignored = self
            .ignore
            .is_some_and(|ignore| ignore.is_ignored_in(&parent.ignore, from_source));
        let left_out = self
            .include
            .is_some_and(|include| !include.is_ignored_in(&parent.include, below));
        !ignored && !left_out && !self.exclude.is_ignored_in(&parent.exclude, below)
    }

    fn judge_dir(self, parent: &Standing, from_source: &str, below: &str) -> Option<Verdict> {
        let enter = |rules: Option<&Ignore>, parent: &Matches, path: &str| match rules {
            Some(rules) => rules.enter(parent, path),
            None => parent.clone(),
        };
        let standing = Standing {
            ignore: enter(self.ignore, &parent.ignore, from_source),
            include: enter(self.include, &parent.include, below),
            exclude: self.exclude.enter(&parent.exclude, below),
        };
        let ignored = standing.ignore.is_ignored();
        let excluded = standing.exclude.is_ignored();
        let left_out = self.include.is_some() && !standing.include.is_ignored();
        let may_return = |rules: Option<&Ignore>, path: &str| {
            rules.is_some_and(|rules| rules.may_include_below(path))
        };
        if ignored && !may_return(self.ignore, from_source)
            || excluded && !may_return(Some(self.exclude), below)
        {
            return None;
        }
        Some(Verdict {
            implied: left_out || excluded,
            only_with_content: ignored || left_out || excluded,
            standing: Some(standing),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn paths_are_joined_as_text() {
        let name = OsStr::from_bytes(b"n\xc3\xff");
        for (root, below, expected) in [
            ("", "", "name"),
            ("", "a/b", "a/b/name"),
            ("r", "", "r/name"),
            ("r/s", "a", "r/s/a/name"),
        ] {
            let mut paths = PathText::new(Path::new(root), Path::new(below));
            for name in [name, OsStr::new("name")] {
                let joined = Path::new(below).join(name);
                let whole = Path::new(root).join(&joined);
                let expected = (whole.to_string_lossy(), joined.to_string_lossy());
                assert_eq!(paths.of(name), (&*expected.0, &*expected.1));
            }
            assert_eq!(paths.of(OsStr::new("name")).0, expected);
        }
    }
}
