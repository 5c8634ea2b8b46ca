//! Addresses of git repositories and of downloads: nothing in one is taken for an option, leaves
//! its folder, or shows a password.
#![no_main]

use kiln_dockerfile::gitref::{GitRef, GitRemote};
use kiln_fetch::http;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match GitRef::parse(text) {
        Ok(Some(git)) => {
            check_remote(&git.remote);
            let reference = git.reference.as_deref().unwrap_or("x");
            assert!(!reference.starts_with('-') && !reference.contains(".."));
            let folder = git.subdir.as_deref().unwrap_or("x");
            assert!(
                folder
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | ".."))
            );
            hides_password(&git.remote, &git.to_string());
            hides_password(&git.remote, &format!("{git:?}"));
            let _ = git.commit();
        }
        Ok(None) => {}
        Err(error) => drop(error.to_string()),
    }
    if let Ok(Some(remote)) = GitRemote::parse(text) {
        check_remote(&remote);
    }
    let name = http::url_file_name(text);
    assert!(!name.contains('/') && !matches!(name.as_str(), "" | "." | ".."));
    let _ = http::parse_date(text);
    let _ = http::shown(text);
});

fn check_remote(remote: &GitRemote) {
    let address = remote.with_credentials();
    assert!(!address.starts_with('-') && !remote.host().starts_with('-'));
    assert!(!address.contains(|c: char| c.is_ascii_control()));
    let again = GitRemote::parse(&address);
    if !address.contains(['?', '#']) {
        let again = again.expect("it is an address").expect("it is an address");
        assert_eq!(again.with_credentials(), address);
    }
    let _ = (
        remote.short_name(),
        remote.host_and_port(),
        remote.is_unencrypted(),
    );
    hides_password(remote, &remote.without_credentials());
}

/// Only of passwords that can't be in an address by chance.
fn hides_password(remote: &GitRemote, shown: &str) {
    if let Some((_, Some(password))) = remote.credentials()
        && password.contains("hunter2")
    {
        let rest = remote.without_credentials();
        assert_eq!(
            shown.matches("hunter2").count() > 0,
            rest.contains("hunter2"),
            "{shown}"
        );
    }
}
