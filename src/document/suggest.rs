//! "Did you mean": the nearest of the words that would have been right.

/// How many candidates are compared; generated files may have any number.
const MAX_CANDIDATES: usize = 1000;

/// What other programs call what we have another word for.
const ALIASES: &[(&str, &str)] = &[
    ("args", "params"),
    ("arguments", "params"),
    ("cmd", "exec"),
    ("command", "exec"),
    ("cwd", "workdir"),
    ("environment", "env"),
    ("parameters", "params"),
    ("run", "exec"),
];

/// Returns the candidate nearest to `word`, if it is near enough to be a slip of the pen, or else the
/// one that goes by that word elsewhere.
///
/// Case, `-` and `_` do not count; of what remains, at most one letter in three may differ.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = folded(word);
    let is_alias = |candidate: &&str| ALIASES.contains(&(word.as_str(), *candidate));
    let candidates: Vec<_> = candidates.into_iter().take(MAX_CANDIDATES).collect();
    let alias = candidates.iter().copied().find(|one| is_alias(one));
    let allowed = match word.chars().count() {
        0..=2 => 0,
        length => (length / 3).clamp(1, 3),
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &folded(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
        .or(alias)
}

/// Words the suggestion for a message's help line.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

fn folded(word: &str) -> String {
    word.chars()
        .filter(|character| !matches!(character, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_recognized() {
        let cases = [
            ("letters swapped", "exce", Some("exec")),
            ("letter missing", "descripton", Some("description")),
            ("other case", "maxOutput", Some("max_output")),
            ("dash for underscore", "max-output", Some("max_output")),
            ("another word", "prompts", None),
            ("a word of others", "Command", Some("exec")),
            ("too short to tell", "x", None),
            ("empty", "", None),
        ];
        for (name, word, expected) in cases {
            let found = nearest(word, ["exec", "description", "max_output", "y"]);
            assert_eq!(found, expected, "{name}");
        }
    }
}
