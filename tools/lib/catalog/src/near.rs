/// At most three of `candidates` that a person may have meant by `name`, nearest first.
///
/// Near is: one is a prefix of the other, or at most a third of the letters differ (insertions, deletions,
/// replacements, swaps of neighbours; case does not count).
pub fn near_names<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(200).collect();
    let limit = (wanted.len() / 3).clamp(1, 4);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.to_lowercase().chars().take(200).collect();
            let extends = wanted.len() >= 3 && letters.len() >= 3 && {
                let shorter = wanted.len().min(letters.len());
                wanted[..shorter] == letters[..shorter]
            };
            if !extends && wanted.len().abs_diff(letters.len()) > limit {
                return None;
            }
            let distance = distance(&wanted, &letters);
            (distance <= limit || extends).then_some((distance, candidate))
        })
        .collect();
    found.sort();
    found.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// Edits between two words, a swap of neighbours counting as one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_errors_and_longer_names() {
        let names = ["gui-lib", "gui-doc", "gui", "drracket", "typed-racket", "typed-racket-lib", "2d"];
        assert_eq!(near_names("gui-lbi", names), ["gui-lib", "gui"]);
        assert_eq!(near_names("typed-raket", names), ["typed-racket"]);
        assert_eq!(near_names("DrRacket", names), ["drracket"]);
        assert_eq!(near_names("typed-", names), ["typed-racket", "typed-racket-lib"]);
        assert!(near_names("zzzz", names).is_empty());
    }
}
