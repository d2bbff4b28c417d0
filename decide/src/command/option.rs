//! Options of a command: which words are options and values of options, and where its own words begin.

use super::Word;

/// How many words at the beginning are options and their values, where these options take a value in a word of its own.
pub fn leading(words: &[Word], valued: &[&str]) -> usize {
    let mut index = 0;
    while let Some(word) = words.get(index) {
        let text = word.beginning();
        if text == "--" {
            return index + 1;
        }
        if text.len() < 2 || !text.starts_with(['-', '+']) {
            return index;
        }
        index += if takes_next(text, valued) { 2 } else { 1 };
    }
    index.min(words.len())
}

/// Whether the value of an option is the next word.
fn takes_next(text: &str, valued: &[&str]) -> bool {
    if valued.contains(&text) {
        return true;
    }
    if text.starts_with("--") || text.starts_with('+') {
        return false;
    }
    // In `-nu root` the last letter takes the next word; in `-uroot` the first takes the rest.
    let letters: Vec<char> = text.chars().skip(1).collect();
    let takes = |letter: &char| valued.iter().any(|option| is_letter(option, *letter));
    letters
        .iter()
        .position(takes)
        .is_some_and(|at| at + 1 == letters.len())
}

fn is_letter(option: &str, letter: char) -> bool {
    let mut characters = option.chars();
    (characters.next(), characters.next(), characters.next()) == (Some('-'), Some(letter), None)
}

/// The values of these options, however they are given: `-c x`, `-cx`, `--command x`, `--command=x`.
pub fn values(words: &[Word], options: &[&str]) -> Vec<Word> {
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let text = word.beginning();
        for option in options {
            if (text == *option || ends_cluster(text, option)) && word.parts.len() == 1 {
                found.extend(words.get(index + 1).cloned());
            } else if let Some(rest) = attached(word, text, option) {
                found.push(rest);
            }
        }
    }
    found
}

/// `-qc x` is `-q -c x`.
fn ends_cluster(text: &str, option: &str) -> bool {
    let letters = text.strip_prefix('-').unwrap_or_default();
    let letter = option.strip_prefix('-').filter(|letter| letter.len() == 1);
    let alone = letters.len() > 1 && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    alone && letter.is_some_and(|letter| letters.ends_with(letter) && !letters.starts_with(letter))
}

fn attached(word: &Word, text: &str, option: &str) -> Option<Word> {
    let rest = text.strip_prefix(option)?;
    let long = option.len() > 2 && option.starts_with('-');
    let rest = if long { rest.strip_prefix('=')? } else { rest };
    if rest.is_empty() && word.parts.len() == 1 {
        return None;
    }
    let mut value = Word::text(rest);
    word.parts[1..]
        .iter()
        .for_each(|part| value.push(part.clone()));
    Some(value)
}

/// Whether a word sets a flag of one letter, alone or among others.
pub fn has_letter(word: &Word, letter: char) -> bool {
    let text = word.beginning();
    text.len() > 1
        && text.starts_with('-')
        && !text.starts_with("--")
        && text[1..]
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .any(|c| c == letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Word> {
        line.split(' ').map(Word::text).collect()
    }

    #[test]
    fn options_end_where_the_own_words_begin() {
        for (line, expected) in [
            ("-u root rm", 2),
            ("-uroot rm", 1),
            ("-nu root rm", 2),
            ("-E -- rm", 2),
            ("--user=x rm", 1),
            ("--user x rm", 2),
            ("rm -u", 0),
            ("-u", 1),
        ] {
            assert_eq!(leading(&words(line), &["-u", "--user"]), expected, "{line}");
        }
    }

    #[test]
    fn a_value_is_found_however_it_is_given() {
        for line in ["-e X", "-eX", "-ne X", "--exec X", "--exec=X"] {
            assert_eq!(
                values(&words(line), &["-e", "--exec"]),
                words("X"),
                "{line}"
            );
        }
        assert!(values(&words("-x --executor=X"), &["-e", "--exec"]).is_empty());
    }
}
