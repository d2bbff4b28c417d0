//! What one command gives another through a pipe, a here-document or a substitution, as far as it is known.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Word, scan};

/// What comes in on standard input, or out on standard output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    /// What the program itself was given.
    #[default]
    Inherited,
    Nothing,
    Text(String),
    /// Text of which a part is not known.
    Mixed(Word),
    /// What is in a file.
    File,
    /// Names of files at and under these.
    Paths(Vec<Word>),
    Downloaded,
    Decoded,
    /// The output of another command.
    Other,
}

impl Stream {
    /// What a text of which a part may not be known is.
    pub fn of(word: Word) -> Self {
        word.known().map_or(Self::Mixed(word), Self::Text)
    }

    /// This and what comes after it.
    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Nothing | Self::Inherited, one)
            | (one, Self::Nothing | Self::Inherited)
            | (one @ (Self::Downloaded | Self::Decoded), _)
            | (_, one @ (Self::Downloaded | Self::Decoded)) => one,
            (Self::Text(first), Self::Text(second)) if first.len() + second.len() < 64 << 10 => {
                Self::Text(first + &second)
            }
            _ => Self::Other,
        }
    }

    /// The words that are read from it, one value for each that it may be.
    pub fn words(&self) -> Vec<Word> {
        match self {
            Self::Text(text) => {
                let lines = text.lines();
                let each = lines
                    .flat_map(|line| std::iter::once(line).chain(line.split_ascii_whitespace()));
                let mut words: Vec<Word> = Vec::new();
                for word in each.map(Word::text) {
                    if !words.contains(&word) {
                        words.push(word);
                    }
                }
                words
            }
            Self::Paths(paths) => paths.clone(),
            Self::Nothing => Vec::new(),
            _ => vec![Word::unknown("…")],
        }
    }
}

/// What a command prints.
pub fn printed(name: &str, argv: &[Word], input: &Stream) -> Stream {
    let arguments = argv.get(1..).unwrap_or_default();
    match name {
        "echo" => said(arguments),
        "printf" => formatted(arguments).map_or(Stream::Other, Stream::Text),
        ":" | "true" | "false" | "cd" | "rm" | "mkdir" | "sleep" => Stream::Nothing,
        "cat" | "tee" if operands(arguments).next().is_none() => input.clone(),
        "tee" => input.clone(),
        "head" | "tail" | "sort" | "uniq" | "grep" | "egrep" | "fgrep" => kept(arguments, input),
        "sed" | "awk" | "cut" => changed(input),
        "find" | "fd" | "ls" | "du" => Stream::Paths(starts(name, arguments)),
        "curl" | "wget" | "fetch" | "aria2c" | "http" | "https" | "lynx" | "nc" | "ncat"
        | "socat" | "ftp" | "tftp" | "scp" | "aws" | "gsutil" | "lwp-request" => Stream::Downloaded,
        "base64" | "base32" | "basenc" => decoded_base64(name, arguments, input),
        "xxd" | "openssl" | "gpg" | "gpg2" | "gunzip" | "zcat" | "bzcat" | "xzcat" | "zstdcat"
        | "unzip" | "uudecode" | "tr" | "rev" | "gzip" | "bunzip2" | "bzip2" | "xz" | "unxz"
        | "zstd" | "tar" | "od" | "hexdump" | "age" => Stream::Decoded,
        _ => Stream::Other,
    }
}

fn operands(arguments: &[Word]) -> impl Iterator<Item = &Word> {
    let option = |word: &&Word| word.beginning().starts_with('-');
    arguments.iter().filter(move |word| !option(word))
}

/// At most the lines that come in come out. Where one line gives another its meaning, or lines are cut, nobody knows what they come to.
fn kept(arguments: &[Word], input: &Stream) -> Stream {
    let cuts = |word: &Word| {
        let text = word.shown();
        let long = ["--bytes", "--only", "--count"];
        long.iter().any(|long| text.starts_with(long))
            || (text.starts_with('-') && !text.starts_with("--") && text.contains(['c', 'o']))
    };
    let spans = |text: &str| {
        let several = text.trim_end_matches('\n').contains('\n');
        several && text.contains(['\'', '"', '`', '\\', '<', '(', ')', '{'])
    };
    match input {
        Stream::Text(text) if spans(text) => Stream::Other,
        Stream::Text(_) if arguments.iter().any(cuts) => Stream::Other,
        _ => input.clone(),
    }
}

/// What an editor lets through is of the same kind, but no longer known word by word.
fn changed(input: &Stream) -> Stream {
    match input {
        Stream::Text(_) | Stream::Mixed(_) | Stream::Inherited | Stream::Nothing => Stream::Other,
        other => other.clone(),
    }
}

fn said(arguments: &[Word]) -> Stream {
    let flags = arguments.iter().take_while(|word| {
        let text = word.as_text().unwrap_or_default();
        text.len() > 1 && text.starts_with('-') && text[1..].bytes().all(|b| b"neE".contains(&b))
    });
    let flags = flags.count();
    let ends = |word: &Word| word.as_text().is_some_and(|text| text.contains('n'));
    let end = if arguments[..flags].iter().any(ends) {
        ""
    } else {
        "\n"
    };
    let words: Option<Vec<String>> = arguments[flags..].iter().map(Word::known).collect();
    // Some shells read backslashes without -e, too.
    words.map_or(Stream::Other, |words| {
        Stream::Text(scan::unescape(&words.join(" ")) + end)
    })
}

/// What `printf` prints.
pub fn formatted(arguments: &[Word]) -> Option<String> {
    let words: Option<Vec<String>> = arguments.iter().map(Word::known).collect();
    let mut words = words?.into_iter().filter(|word| word != "--");
    let format = scan::unescape(&words.next()?);
    let mut left: Vec<String> = words.rev().collect();
    let mut printed = String::new();
    loop {
        let before = left.len();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                printed.push(character);
                continue;
            }
            let mut sizes = String::new();
            let letter = loop {
                match characters.next() {
                    Some(c) if c.is_ascii_alphabetic() || c == '%' => break c,
                    Some(c) => sizes.push(c),
                    None => break '%',
                }
            };
            if letter == '%' {
                printed.push('%');
            } else {
                let word = left.pop().unwrap_or_default();
                printed.push_str(&converted(letter, &sizes, word)?);
            }
        }
        if left.is_empty() || left.len() == before || printed.len() > 64 << 10 {
            return Some(printed);
        }
    }
}

/// What a conversion such as `%-5.2s` makes of a word; nothing where that takes more than to cut it and to fill it up.
fn converted(letter: char, sizes: &str, word: String) -> Option<String> {
    let word = match letter {
        's' => word,
        'b' => scan::unescape(&word),
        'c' => word.chars().take(1).collect(),
        'd' | 'i' if sizes.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) => word,
        _ => return None,
    };
    let (width, most) = sizes.split_once('.').unwrap_or((sizes, "64000"));
    let most = if most.is_empty() {
        0
    } else {
        most.parse().ok()?
    };
    let word: String = word.chars().take(most).collect();
    let least = match width.trim_start_matches('-') {
        "" => 0,
        digits => digits.parse::<usize>().ok().filter(|least| *least < 4096)?,
    };
    Some(if width.starts_with('-') {
        format!("{word:<least$}")
    } else {
        format!("{word:>least$}")
    })
}

/// Where a command that lists files begins.
fn starts(name: &str, arguments: &[Word]) -> Vec<Word> {
    let starts: Vec<Word> = match name {
        "find" => find_starts(arguments).to_vec(),
        _ => operands(arguments).cloned().collect(),
    };
    if starts.is_empty() {
        vec![Word::text(".")]
    } else {
        starts
    }
}

/// The paths that `find` begins with.
pub fn find_starts(arguments: &[Word]) -> &[Word] {
    let options = |word: &Word| {
        let text = word.as_text().unwrap_or_default();
        matches!(text, "-H" | "-L" | "-P") || text.starts_with("-O")
    };
    let first = arguments.iter().take_while(|word| options(word)).count();
    let rest = &arguments[first..];
    let ends = |word: &Word| {
        let text = word.beginning();
        text.starts_with('-') || text == "(" || text == "!"
    };
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    &rest[..length]
}

fn decoded_base64(name: &str, arguments: &[Word], input: &Stream) -> Stream {
    let decodes = arguments.iter().any(|word| {
        let text = word.known().unwrap_or_default();
        text.starts_with("--d") || text == "-D" || (text.starts_with('-') && text.contains('d'))
    });
    match input {
        _ if !decodes => Stream::Other,
        Stream::Text(text) if name == "base64" => {
            let text: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(text).ok();
            let plain = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            plain.map_or(Stream::Decoded, Stream::Text)
        }
        _ => Stream::Decoded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Word> {
        line.split(' ').map(Word::text).collect()
    }

    #[test]
    fn what_is_printed_is_known_where_its_words_are() {
        let none = &Stream::Nothing;
        let text = |text: &str| Stream::Text(text.to_owned());
        assert_eq!(printed("echo", &words(r"echo -n r\x6d"), none), text("rm"));
        assert_eq!(
            printed("printf", &words("printf %s-%s a b"), none),
            text("a-b")
        );
        assert_eq!(
            printed("printf", &words(r"printf %b\n a b"), none),
            text("a\nb\n")
        );
        assert_eq!(
            printed("base64", &words("base64 -d"), &text("cm0gLXJmIC8=")),
            text("rm -rf /")
        );
        assert_eq!(
            printed("base64", &words("base64 -d"), &Stream::Other),
            Stream::Decoded
        );
        assert_eq!(printed("echo", &words("echo rm"), none), text("rm\n"));
        assert_eq!(
            printed("echo", &[Word::text("echo"), Word::unknown("$x")], none),
            Stream::Other
        );
        assert_eq!(
            printed("find", &words("find -L /etc /usr -name x"), none),
            Stream::Paths(words("/etc /usr"))
        );
        assert_eq!(
            printed("find", &words("find -name x"), none),
            Stream::Paths(words("."))
        );
    }

    #[test]
    fn what_is_printed_with_a_size_is_cut_and_filled_up() {
        for (line, printed) in [
            ("%s%s r m", Some("rm")),
            ("%.1s%.1s rx mx", Some("rm")),
            ("%c%c rx mx", Some("rm")),
            ("%4s|%-4s| rm rm", Some("  rm|rm  |")),
            ("%5.1s rx", Some("    r")),
            ("%d 12", Some("12")),
            ("%05d 12", None),
            ("%x 12", None),
            ("%q rm", None),
            ("%*s 4 rm", None),
        ] {
            assert_eq!(formatted(&words(line)).as_deref(), printed, "{line}");
        }
    }

    #[test]
    fn lines_are_known_only_where_each_means_the_same_without_the_others() {
        let text = |text: &str| Stream::Text(text.to_owned());
        let kept = |line: &str, input: &str| printed("grep", &words(line), &text(input));
        assert_eq!(kept("grep -v x", "rm\nls\n"), text("rm\nls\n"));
        assert_eq!(kept("grep -v x", "cat <<E\n"), text("cat <<E\n"));
        assert_eq!(kept("grep -v x", "cat <<E\nrm\nE\n"), Stream::Other);
        assert_eq!(kept("grep -v x", "echo '\nrm'\n"), Stream::Other);
        assert_eq!(kept("grep -o rm", "xrm"), Stream::Other);
        assert_eq!(kept("head -c 2", "rmx"), Stream::Other);
        assert_eq!(kept("head --bytes=2", "rmx"), Stream::Other);
    }
}
