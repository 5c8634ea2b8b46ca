//! Addresses of git repositories and of downloads: nothing in one is taken for an option, leaves
//! its folder, or shows a password.
#![no_main]

use kiln_dockerfile::gitref::{GitRef, GitRemote};
use kiln_fetch::http;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match GitRef::parse(text) {
        Ok(Some(git)) => {
            check_remote(text, &git.remote);
            let reference = git.reference.as_deref().unwrap_or("x");
            assert!(!reference.starts_with('-') && !reference.contains(".."));
            let folder = git.subdir.as_deref().unwrap_or("x");
            assert!(
                folder
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | ".."))
            );
            hides_password(text, &git.remote, &git.to_string());
            hides_password(text, &git.remote, &format!("{git:?}"));
            let _ = git.commit();
        }
        Ok(None) => {}
        Err(error) => drop(error.to_string()),
    }
    if let Ok(Some(remote)) = GitRemote::parse(text) {
        check_remote(text, &remote);
    }
    let name = http::url_file_name(text);
    assert!(!name.contains('/') && !matches!(name.as_str(), "" | "." | ".."));
    let _ = http::parse_date(text);
    let _ = http::shown(text);
});

fn check_remote(text: &str, remote: &GitRemote) {
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
    hides_password(text, remote, &remote.without_credentials());
}

/// Only asks of a password that is nowhere else in the address.
fn hides_password(text: &str, remote: &GitRemote, shown: &str) {
    if let Some((_, Some(password))) = remote.credentials()
        && password.contains("hunter2")
        && text.matches("hunter2").count() == 1
    {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
