//! Settings as text: `kiln config show`, and the tables of docs/configuration.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::env;
use super::file::RegistryEntry;
use super::key::ROWS;
use super::layer::{Layer, Origin};
use super::resolve::Settings;
use crate::table::Table;

/// Each setting with its value and origin, as aligned columns, then the registries.
pub(crate) fn as_text(settings: &Settings, layer: &Layer) -> String {
    let mut table = Table::new(["SETTING", "VALUE", "FROM"]);
    for (name, value, origin) in rows(settings, layer) {
        table.row([name.to_owned(), value, origin.to_string()]);
    }
    let mut text = table.to_string();
    for (host, entry) in &settings.registries {
        _ = write!(text, "\n[registry.\"{host}\"]\n{}", registry_text(entry));
    }
    text
}

/// The same as JSON.
pub(crate) fn as_json(settings: &Settings, layer: &Layer) -> Value {
    let rows = rows(settings, layer)
        .map(|(name, value, origin)| (name, json!({"value": value, "from": origin.to_string()})));
    let registries: BTreeMap<_, _> = settings
        .registries
        .iter()
        .map(|(host, entry)| (host, registry_json(entry)))
        .collect();
    json!({"settings": rows.collect::<BTreeMap<_, _>>(), "registry": registries})
}

fn rows<'a>(
    settings: &'a Settings,
    layer: &'a Layer,
) -> impl Iterator<Item = (&'static str, String, Origin)> + 'a {
    ROWS.iter().map(|row| match layer.get(row.key) {
        Some(written) => (row.name, written.text.clone(), written.origin.clone()),
        None => (
            row.name,
            default_text(settings, row.name, row.default),
            Origin::Default,
        ),
    })
}

/// Defaults that depend on the machine are shown as what they came to.
fn default_text(settings: &Settings, name: &str, in_words: &str) -> String {
    match name {
        "root" => settings.root.display().to_string(),
        "jobs" => settings.jobs.to_string(),
        "platform" => {
            let platforms = settings.platforms.iter().map(ToString::to_string);
            platforms.collect::<Vec<_>>().join(",")
        }
        _ => in_words.replace('`', ""),
    }
}

fn registry_text(entry: &RegistryEntry) -> String {
    let mut text = String::new();
    if let Value::Object(fields) = registry_json(entry) {
        let is_set = |value: &Value| {
            !matches!(value, Value::Null | Value::Bool(false)) && *value != json!([])
        };
        for (name, value) in fields.iter().filter(|(_, value)| is_set(value)) {
            _ = writeln!(text, "{name} = {value}");
        }
    }
    text
}

fn registry_json(entry: &RegistryEntry) -> Value {
    json!({
        "mirrors": entry.mirrors,
        "plain-http": entry.plain_http,
        "insecure": entry.insecure,
        "ca": entry.ca,
        "client-cert": entry.client_cert,
        "client-key": entry.client_key,
    })
}

/// The table of settings in docs/configuration.md.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the test that keeps the page up to date")
)]
pub(crate) fn settings_reference() -> String {
    let mut text = String::from(
        "| in a file | variable | flag | default | what it does |\n|---|---|---|---|---|\n",
    );
    for row in ROWS {
        _ = writeln!(
            text,
            "| `{}` | `{}` | `{}` | {} | {} |",
            row.name, row.variable, row.flag, row.default, row.about
        );
    }
    text
}

/// The table of other variables in docs/configuration.md.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the test that keeps the page up to date")
)]
pub(crate) fn variables_reference() -> String {
    let mut text = String::from("| variable | what it does |\n|---|---|\n");
    for variable in env::ALL {
        _ = writeln!(text, "| `{}` | {} |", variable.name, variable.about);
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");

    /// The page with what stands between two markers replaced.
    fn splice(page: &str, marker: &str, table: &str) -> String {
        let begin = format!("<!-- {marker}: begin -->\n");
        let end = format!("<!-- {marker}: end -->");
        let (head, rest) = page.split_once(&begin).unwrap();
        let (_, tail) = rest.split_once(&end).unwrap();
        format!("{head}{begin}{table}{end}{tail}")
    }

    #[test]
    fn the_documentation_is_up_to_date() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let page = splice(&page, "settings", &settings_reference());
        let page = splice(&page, "variables", &variables_reference());
        // `UPDATE_EXPECT=1 cargo test -p kiln` writes the page.
        expect_file![PAGE].assert_eq(&page);
    }
}
