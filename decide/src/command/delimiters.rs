//! Delimiters of here-documents, looked at before the tokenizer sees them: at one that is empty or substitutes something, it may never come to the end of a text, and take all memory meanwhile.

/// Whether whatever may be the operator of a here-document has a delimiter behind it that is a plain word. Quotes around the operator are not regarded, so that none hide it.
pub fn are_plain(text: &str) -> bool {
    let mut at = 0;
    while let Some(found) = text[at..].find("<<") {
        let start = at + found;
        let rest = text[start..].trim_start_matches('<');
        at = text.len() - rest.len();
        let is_escaped = text[..start].ends_with('\\');
        match at - start {
            // A here-string.
            3 if !is_escaped => {}
            2 if !is_escaped && begins_plainly(rest) => {}
            _ => return false,
        }
    }
    true
}

/// Whether what follows the operator is a word of plain characters, quoted or not, or the name of a variable.
fn begins_plainly(rest: &str) -> bool {
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    let rest = rest.strip_prefix([' ', '\t']).unwrap_or(rest);
    let end = rest.find([' ', '\t', '\n', ';', '|', '&', '<', '>', '(', ')']);
    let word = &rest[..end.unwrap_or(rest.len())];
    let quoted = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
    let word = quoted('\'')
        .or_else(|| quoted('"'))
        .or_else(|| word.strip_prefix(['\\', '$']))
        .unwrap_or(word);
    let is_plain = |c: char| c.is_alphanumeric() || "_.,:+%@/^~=!-".contains(c);
    !word.is_empty() && word.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_delimiters_and_shifts_are_plain() {
        for text in [
            "cat <<EOF\na\nEOF",
            "cat <<-'EOF' | sh\na\nEOF",
            "cat << \"EOF\" > f",
            "cat <<\\EOF; ls",
            "read a <<< ''",
            "echo $((1<<2)) $((1 << $n))",
            "((x<<=2))",
            "sort < a",
            "a <<A <<B",
        ] {
            assert!(are_plain(text), "{text:?}");
        }
    }

    #[test]
    fn what_is_empty_substitutes_or_is_hidden_is_not() {
        for text in [
            "b<<'';i(w ",
            "b|<< \r| x|2(w ",
            "a <<\"\"",
            "a <<",
            "a <<$(b)",
            "a <<A`b`",
            "a <<${b}",
            "a <<A$[",
            "a <<-\t\tb",
            "a \\<<<''",
            "a <<<<''",
            "a <<\\\n''",
            "a <<A <<''",
        ] {
            assert!(!are_plain(text), "{text:?}");
        }
    }
}
