//! Names that say that a value is a secret.

/// Words that make a name a secret's, alone or between underscores.
const SECRET: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// Words that make it harmless after all.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// Whether a variable's name says that its value is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let has = |words: &[&str]| {
        name.split('_')
            .any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
    };
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn words_count_whole() {
        for name in ["TOKEN", "api_key", "GITHUB_TOKEN", "Secret_x", "_auth_"] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "MONKEY",
            "TOKENS",
            "KEY_FILE",
            "PUBLIC_KEY",
            "auth-token",
            "",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
