//! Lists of fields as the flags of builds write them: commas between, quotes around fields with
//! commas.

use crate::source::{Fault, Outcome};

/// The first field, and what follows it; none if a quote stands where it can't.
pub(crate) fn field(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\n']).unwrap_or(text.len());
        let end = if text[end..].starts_with('\n') && text[..end].ends_with('\r') {
            end - 1
        } else {
            end
        };
        // A quote within an unquoted field is a mistake more often than meant.
        return (!text[..end].contains('"')).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut out = String::new();
    loop {
        let end = rest.find('"')?;
        out.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                out.push('"');
                rest = after;
            }
            None if rest.is_empty() || rest.starts_with([',', '\n', '\r']) => {
                return Some((out, rest));
            }
            None => return None,
        }
    }
}

/// The fields of one line.
pub(crate) fn fields(text: &str) -> Outcome<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = field(rest).ok_or_else(|| {
            Fault::new(format!(
                "`{text}` has a quote that is not closed, or one within a field"
            ))
        })?;
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// Adds `key=value`, quoted where it must be.
pub(crate) fn push(out: &mut String, key: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    let pair = format!("{key}={value}");
    if pair.contains([',', '"']) {
        out.push('"');
        out.push_str(&pair.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(&pair);
    }
}
