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
                Self::Text(format!("{first}\n{second}"))
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
        // At most what comes in comes out.
        "tee" | "head" | "tail" | "sort" | "uniq" | "grep" | "egrep" | "fgrep" => input.clone(),
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
    let words: Option<Vec<String>> = arguments[flags..].iter().map(Word::known).collect();
    // Some shells read backslashes without -e, too.
    words.map_or(Stream::Other, |words| {
        Stream::Text(scan::unescape(&words.join(" ")))
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
            match characters.find(|c| c.is_ascii_alphabetic() || *c == '%') {
                Some('%') | None => printed.push('%'),
                Some('b') => printed.push_str(&scan::unescape(&left.pop().unwrap_or_default())),
                Some(_) => printed.push_str(&left.pop().unwrap_or_default()),
            }
        }
        if left.is_empty() || left.len() == before || printed.len() > 64 << 10 {
            return Some(printed);
        }
    }
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
}
