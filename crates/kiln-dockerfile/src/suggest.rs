//! What the author may have meant.

/// Longer words are not worth a suggestion, and comparing them costs.
const MAX_LENGTH: usize = 40;

/// The option that is nearest to `word`, where one is near enough: at most a third of it differs.
/// Case does not count.
pub fn did_you_mean<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_LENGTH {
        return None;
    }
    let word = word.to_lowercase();
    let near_enough = (word.chars().count() / 3).max(1);
    options
        .into_iter()
        .filter(|option| option.len() <= MAX_LENGTH)
        .map(|option| (distance(&word, &option.to_lowercase()), option))
        .filter(|&(distance, option)| distance <= near_enough && distance < option.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, option)| option)
}

/// The hint for [`did_you_mean`].
pub(crate) fn hint<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<String> {
    did_you_mean(word, options).map(|option| format!("did you mean `{option}`?"))
}

/// Insertions, deletions, replacements and swaps of neighbours between `one` and `other`.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for (row, ch) in one.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, &wanted) in other.iter().enumerate() {
            let mut best = (above[column] + usize::from(ch != wanted))
                .min(above[column + 1] + 1)
                .min(current[column] + 1);
            let swapped = column > 0 && last == Some(wanted) && other[column - 1] == ch;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        last = Some(ch);
        before = std::mem::replace(&mut above, current);
    }
    above[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested() {
        let instructions = ["FROM", "RUN", "COPY", "ENTRYPOINT"];
        assert_eq!(did_you_mean("FORM", instructions), Some("FROM"));
        assert_eq!(did_you_mean("coppy", instructions), Some("COPY"));
        assert_eq!(did_you_mean("ENTRYPONIT", instructions), Some("ENTRYPOINT"));
        assert_eq!(did_you_mean("RUNN", instructions), Some("RUN"));
        assert_eq!(did_you_mean("%%", instructions), None);
        assert_eq!(did_you_mean(&"x".repeat(1000), instructions), None);
        assert_eq!(did_you_mean("", instructions), None);
    }
}
