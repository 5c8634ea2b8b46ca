//! What a registry asks for when it answers 401.

/// How requests have to be authorised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from this service.
    Bearer(Bearer),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token service's address.
    pub(crate) realm: String,
    /// The name under which the service knows the registry.
    pub(crate) service: String,
    /// What the refused request would have needed, separated by spaces.
    pub(crate) scope: String,
}

/// The first challenge, among all `WWW-Authenticate` headers, that kiln can meet; a bearer token
/// before a password.
pub(crate) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        for challenge in http_auth::parse_challenges(header).unwrap_or_default() {
            let parameter = |name: &str| {
                let found = challenge
                    .params
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name));
                found
                    .map(|(_, value)| value.to_unescaped())
                    .unwrap_or_default()
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let realm = parameter("realm");
                if !realm.is_empty() {
                    return Some(Challenge::Bearer(Bearer {
                        realm,
                        service: parameter("service"),
                        scope: parameter("scope"),
                    }));
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(headers: &[&str], expected: &Expect) {
        expected.assert_eq(&format!("{:?}", parse(headers.iter().copied())));
    }

    #[test]
    fn finds_what_it_can_meet() {
        check(&[], &expect!["None"]);
        check(&["Negotiate"], &expect!["None"]);
        check(&[r#"Basic realm="x""#], &expect!["Some(Basic)"]);
        check(
            &[
                r#"Basic realm="x", Bearer realm="https://auth.example/t",service="r",scope="repository:a:pull""#,
            ],
            &expect![[
                r#"Some(Bearer(Bearer { realm: "https://auth.example/t", service: "r", scope: "repository:a:pull" }))"#
            ]],
        );
        check(
            &["Basic", r#"bearer Realm="https://a""#],
            &expect![[r#"Some(Bearer(Bearer { realm: "https://a", service: "", scope: "" }))"#]],
        );
        check(&["Bearer"], &expect!["None"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = parse(std::iter::once(text.as_str()));
        }
    }
}
