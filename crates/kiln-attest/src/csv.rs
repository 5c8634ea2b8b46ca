//! One line of comma-separated values, as the options of buildx are written.
//!
//! Go's `encoding/csv` rules: a field that begins with `"` ends at the next lone `"`, and `""`
//! inside it is one `"`.

/// The fields of the line; `None` where a quote is left open or stands where none may.
pub(crate) fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains('"') {
                    return None;
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// The rest of a field after its opening quote, and what follows the closing one.
fn quoted_field(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let (text, after) = rest.split_once('"')?;
        field.push_str(text);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<&[&str]>) {
        let expected = expected.map(|fields| fields.iter().map(|f| (*f).to_owned()).collect());
        assert_eq!(fields(line), expected);
    }

    #[test]
    fn quotes_are_gos() {
        check("a=1,b=2", Some(&["a=1", "b=2"]));
        check(r#""a=1,2",b"#, Some(&["a=1,2", "b"]));
        check(r#""a=""x""""#, Some(&[r#"a="x""#]));
        check("a,", Some(&["a", ""]));
        check(r#"a"b"#, None);
        check(r#""a"#, None);
        check(r#""a"b"#, None);
    }
}
