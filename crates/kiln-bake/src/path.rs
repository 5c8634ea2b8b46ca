//! Paths as texts.

/// The shortest path that means the same: no `.`, no `..` that can be resolved, no double slash.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// `path` as seen from `base`.
pub(crate) fn join(base: &str, path: &str) -> String {
    if base.is_empty() || path.starts_with('/') {
        clean(path)
    } else {
        clean(&format!("{base}/{path}"))
    }
}

/// Whether a context is fetched from elsewhere: by HTTP, or a git repository.
pub(crate) fn is_remote(url: &str) -> bool {
    let git = url.starts_with("git@") || url.starts_with("git://") || url.starts_with("ssh://");
    git || url.starts_with("http://")
        || url.starts_with("https://")
        || url.starts_with("github.com/")
}

/// The directory of a local file.
pub(crate) fn directory(file: &str) -> Option<String> {
    if file.is_empty() || file == "-" || is_remote(file) {
        return None;
    }
    Some(clean(file.rfind('/').map_or("", |at| &file[..=at])))
}

/// `context` as seen from `base`, unless it is no relative path.
pub(crate) fn rebased(base: &str, context: &str) -> String {
    let special = ["cwd://", "target:", "docker-image:", "oci-layout://", "/"];
    let fixed = context.is_empty() || special.iter().any(|prefix| context.starts_with(prefix));
    if fixed || is_remote(context) {
        context.to_owned()
    } else {
        join(base, context)
    }
}
