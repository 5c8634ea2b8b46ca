//! Where a disk and what is beside it are to be.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::RootfsRequest;
use super::error::RootfsError;
use super::temporary::folder_of;
use crate::output::is_special;

/// Refuses files that could not all be there in the end, before anything is done for them.
pub(super) fn check(request: &RootfsRequest) -> Result<(), RootfsError> {
    let bills = request.bills.iter().map(|bill| &bill.path);
    let sign = request.sign.as_ref().map(|sign| &sign.path);
    let places = [&request.output].into_iter().chain(&request.manifest);
    let places = places.chain(&request.initrd).chain(bills).chain(sign);
    let places: Vec<&Path> = places.map(PathBuf::as_path).collect();
    // An archive's image is named by its path.
    let image = Path::new(&request.image);
    let sources = [image].into_iter().chain(request.kernel.as_deref());
    check_files(&places, &sources.collect::<Vec<_>>())
}

fn check_files(places: &[&Path], sources: &[&Path]) -> Result<(), RootfsError> {
    for (index, place) in places.iter().enumerate() {
        if is_special(place) {
            return Err(RootfsError::NotAFile(place.to_path_buf()));
        }
        if places[..index].contains(place) || sources.contains(place) {
            return Err(RootfsError::SameFile(place.to_path_buf()));
        }
        let folder = folder_of(place);
        let is_missing = match folder.metadata() {
            Ok(found) => !found.is_dir(),
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        if is_missing {
            return Err(RootfsError::NoFolder {
                path: place.to_path_buf(),
                folder: folder.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files and sources by their names below a folder that has a folder `there`, and a file `a`.
    #[track_caller]
    fn check(places: &[&str], sources: &[&str], expected: &str) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        kiln_sys::files::create_dir(root.join("there"), 0o755).unwrap();
        kiln_sys::files::write(root.join("a"), b"").unwrap();
        let paths = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();
        let (places, sources) = (paths(places), paths(sources));
        let places: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
        let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
        let text = match check_files(&places, &sources) {
            Ok(()) => "good".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text.replace(&root.display().to_string(), "ROOT"), expected);
    }

    #[test]
    fn files_are_apart_from_each_other_and_from_what_is_read() {
        check(&["disk", "there/disk", "a"], &["kernel"], "good");
        let twice = ["disk", "initrd", "disk"];
        check(&twice, &[], "`ROOT/disk` can't be two files");
        let sources = ["image", "kernel"];
        check(
            &["disk", "kernel"],
            &sources,
            "`ROOT/kernel` can't be two files",
        );
        check(
            &["there"],
            &[],
            "`ROOT/there` is there and is no regular file",
        );
    }

    #[test]
    fn a_folder_that_is_missing_is_named_with_the_file_that_the_user_named() {
        check(
            &["disk", "missing/disk"],
            &[],
            "could not write `ROOT/missing/disk`: there is no folder `ROOT/missing`",
        );
        check(
            &["a/disk"],
            &[],
            "could not write `ROOT/a/disk`: there is no folder `ROOT/a`",
        );
    }
}
