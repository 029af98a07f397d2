//! The suggestion for a misspelt word.

/// The shortest word that is completed to the only candidate that starts with it.
const PREFIX_LENGTH_MIN: usize = 3;

/// Returns the candidate that is most similar to `unknown`, regardless of case; `None` if no
/// candidate is similar.
///
/// At most a third of the characters may differ. A word that only one candidate starts with is
/// similar to this candidate, too.
pub fn nearest<T: AsRef<str>>(unknown: &str, candidates: impl IntoIterator<Item = T>) -> Option<T> {
    let unknown = unknown.to_lowercase();
    let mut prefixed = 0;
    let mut ranked = Vec::new();
    for candidate in candidates {
        let name = candidate.as_ref().to_lowercase();
        let is_prefixed = name.starts_with(&unknown);
        prefixed += usize::from(is_prefixed);
        ranked.push((strsim::damerau_levenshtein(&unknown, &name), is_prefixed, candidate));
    }
    if prefixed == 1 && unknown.len() >= PREFIX_LENGTH_MIN {
        return ranked.into_iter().find(|(_, is_prefixed, _)| *is_prefixed).map(|(.., name)| name);
    }
    let (distance, _, name) = ranked.into_iter().min_by_key(|(distance, ..)| *distance)?;
    is_similar(&unknown, distance).then_some(name)
}

/// Returns `true` if a word with this edit distance to `unknown` is a plausible correction.
pub fn is_similar(unknown: &str, distance: usize) -> bool {
    distance <= unknown.len().div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_misspelt_and_unfinished_words() {
        let commands = ["run", "check", "records", "status", "actors", "completions"];
        for (unknown, expected) in [
            ("stat", Some("status")),
            ("act", Some("actors")),
            ("Check", Some("check")),
            ("chekc", Some("check")),
            ("recrods", Some("records")),
            ("rn", Some("run")),
            ("c", None),
            ("", None),
            ("nonsense", None),
            ("co", None),
        ] {
            assert_eq!(nearest(unknown, commands), expected, "{unknown}");
        }
    }

    #[test]
    fn prefix_of_several_words_is_not_completed() {
        assert_eq!(nearest("docker", ["docker-url", "docker-poll"]), None);
        assert_eq!(nearest("docker-pol", ["docker-url", "docker-poll"]), Some("docker-poll"));
    }
}
