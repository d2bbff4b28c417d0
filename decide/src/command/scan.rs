//! Reading shell text by hand where only its quotes and brackets matter: how long a substitution is, and what `$'…'` stands for.
//! Nothing here recurses, so no nesting is too deep for it.

/// What a closing character is awaited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Parenthesis,
    Brace,
    Double,
}

/// Where what begins with this bracket or double quote ends: the index of what closes it. `text` begins after what opens it.
pub fn closing(text: &str, bracket: char) -> Option<usize> {
    let first = match bracket {
        '(' => Open::Parenthesis,
        '{' => Open::Brace,
        _ => Open::Double,
    };
    let mut open = vec![first];
    let mut characters = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((index, character)) = characters.next() {
        let top = *open.last()?;
        let quoted = top == Open::Double || (top == Open::Brace && open.contains(&Open::Double));
        match character {
            '\\' => drop(characters.next()),
            '\'' if !quoted => skip_single(&mut characters, before == '$'),
            '"' if top == Open::Double => drop(open.pop()),
            '"' => open.push(Open::Double),
            '`' => skip_backquoted(&mut characters),
            '(' if top == Open::Parenthesis || before == '$' => open.push(Open::Parenthesis),
            '{' if before == '$' => open.push(Open::Brace),
            ')' if top == Open::Parenthesis => drop(open.pop()),
            '}' if top == Open::Brace => drop(open.pop()),
            '#' if top == Open::Parenthesis && is_blank(before) => {
                while characters.next_if(|(_, c)| *c != '\n').is_some() {}
            }
            _ => {}
        }
        if open.is_empty() {
            return Some(index);
        }
        before = character;
    }
    None
}

type Characters<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | ';' | '(' | '&' | '|')
}

fn skip_single(characters: &mut Characters, escapes: bool) {
    while let Some((_, character)) = characters.next() {
        match character {
            '\\' if escapes => drop(characters.next()),
            '\'' => return,
            _ => {}
        }
    }
}

fn skip_backquoted(characters: &mut Characters) {
    while let Some((_, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '`' => return,
            _ => {}
        }
    }
}

/// Up to the character that ends it, where a backslash takes the special meaning of what follows: the text within, and how many bytes it and its end take.
pub fn until(text: &str, end: char) -> Option<(&str, usize)> {
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == end {
            return Some((&text[..index], index + end.len_utf8()));
        }
    }
    None
}

/// What backslashes stand for in `$'…'`, `echo -e` and the format of `printf`.
pub fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('a' | 'b' | 'f' | 'v') => plain.push(' '),
            Some('e' | 'E') => plain.push('\u{1b}'),
            Some('x') => number(&mut characters, 16, 2, 0, &mut plain),
            Some('u') => number(&mut characters, 16, 4, 0, &mut plain),
            Some('U') => number(&mut characters, 16, 8, 0, &mut plain),
            Some(digit @ '0'..='7') => {
                let value = digit.to_digit(8).unwrap_or(0);
                number(
                    &mut characters,
                    8,
                    if value == 0 { 3 } else { 2 },
                    value,
                    &mut plain,
                );
            }
            Some('c') => drop(characters.next()),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

fn number(
    from: &mut std::iter::Peekable<std::str::Chars>,
    radix: u32,
    most: usize,
    start: u32,
    into: &mut String,
) {
    let mut value = start;
    for _ in 0..most {
        let Some(digit) = from.peek().and_then(|c| c.to_digit(radix)) else {
            break;
        };
        value = value.wrapping_mul(radix).wrapping_add(digit);
        from.next();
    }
    into.push(char::from_u32(value).unwrap_or('\u{fffd}'));
}

/// What braces outside quotes expand to, such as `{a,b}` and `{1..3}`; none where it is more than so many words.
pub fn braces(raw: &str, most: usize) -> Option<Vec<String>> {
    let (mut done, mut todo) = (Vec::new(), vec![raw.to_owned()]);
    while let Some(word) = todo.pop() {
        match first_brace(&word) {
            None => done.push(word),
            Some((start, end, members)) => {
                let whole = members.into_iter().rev();
                todo.extend(whole.map(|m| format!("{}{m}{}", &word[..start], &word[end..])));
            }
        }
        if done.len() + todo.len() > most {
            return None;
        }
    }
    Some(done)
}

/// The first brace expression: where it starts and ends, and what it stands for.
fn first_brace(word: &str) -> Option<(usize, usize, Vec<String>)> {
    let mut characters = word.char_indices().peekable();
    let mut before = ' ';
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '\'' => skip_single(&mut characters, before == '$'),
            '"' => skip_double(word, index, &mut characters),
            '`' => skip_backquoted(&mut characters),
            '(' | '{' if before == '$' => {
                let end = index + 1 + closing(&word[index + 1..], character)?;
                while characters.next_if(|(at, _)| *at <= end).is_some() {}
            }
            '{' => {
                if let Some((end, members)) = members(&word[index + 1..]) {
                    return Some((index, index + 1 + end, members));
                }
            }
            _ => {}
        }
        before = character;
    }
    None
}

fn skip_double(word: &str, index: usize, characters: &mut Characters) {
    let rest = &word[index + 1..];
    let end = index + 1 + closing(rest, '"').unwrap_or(rest.len());
    while characters.next_if(|(at, _)| *at <= end).is_some() {}
}

/// What stands between braces, and where it ends; none where they mean themselves.
fn members(text: &str) -> Option<(usize, Vec<String>)> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '\'' => skip_single(&mut characters, false),
            '"' => skip_double(text, index, &mut characters),
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                found.push(text[start..index].to_owned());
                start = index + 1;
            }
            '}' => {
                let last = text[start..index].to_owned();
                if found.is_empty() {
                    return Some((index + 1, sequence(&last)?));
                }
                found.push(last);
                return Some((index + 1, found));
            }
            _ => {}
        }
    }
    None
}

/// `1..3` or `a..c`.
fn sequence(text: &str) -> Option<Vec<String>> {
    let (first, rest) = text.split_once("..")?;
    let last = rest.split("..").next()?;
    if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
        let all = first.min(last)..=first.max(last);
        return Some(all.take(65).map(|n| n.to_string()).collect());
    }
    let (mut a, mut b) = (first.chars(), last.chars());
    let (Some(from), None, Some(to), None) = (a.next(), a.next(), b.next(), b.next()) else {
        return None;
    };
    let all = from.min(to)..=from.max(to);
    Some(all.take(65).map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_substitution_ends_where_its_own_bracket_closes() {
        for (text, inside) in [
            ("echo a) b", Some("echo a")),
            ("echo ')' ) b", Some("echo ')' ")),
            (
                "echo \")\" \"$(echo ')')\" ) b",
                Some("echo \")\" \"$(echo ')')\" "),
            ),
            ("a # it's )\n) b", Some("a # it's )\n")),
            ("(a) `)` \\) ) b", Some("(a) `)` \\) ")),
            ("never", None),
        ] {
            assert_eq!(closing(text, '(').map(|end| &text[..end]), inside, "{text}");
        }
    }

    #[test]
    fn backslashes_stand_for_characters() {
        assert_eq!(
            unescape(r"\x72\x6d \162\155 \u0072m \\ \q"),
            "rm rm rm \\ q"
        );
    }

    #[test]
    fn braces_stand_for_words() {
        let expanded = |raw| braces(raw, 64).expect("few");
        assert_eq!(expanded("{rm,-rf,/}"), ["rm", "-rf", "/"]);
        assert_eq!(expanded("a{b,c{d,e}}f"), ["abf", "acdf", "acef"]);
        assert_eq!(expanded("{1..3}"), ["1", "2", "3"]);
        assert_eq!(expanded("{r..r}m"), ["rm"]);
        for itself in [
            "{}",
            "${a}",
            "'{a,b}'",
            "\"{a,b}\"",
            "{a}",
            "\\{a,b}",
            "$(echo {a,b})",
        ] {
            assert_eq!(expanded(itself), [itself]);
        }
        assert_eq!(braces(&"{a,b}".repeat(20), 64), None);
    }
}
