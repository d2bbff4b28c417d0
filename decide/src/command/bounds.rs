//! Bounds of an analysis: what is longer, deeper or more is unknown, and says so. They hold before a recursive parser sees the text.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use brush_parser::Token;

/// Longest text that is read, in bytes.
pub const LENGTH: usize = 64 << 10;
/// Bytes that are parsed in one analysis, all the programs within programs together.
pub const PARSED: usize = 8 * LENGTH;
/// What a parse costs beside the length of its text, in bytes.
pub const PARSE: usize = 64;
/// Commands of one analysis.
pub const COMMANDS: usize = 16 << 10;
/// Programs within programs.
pub const PROGRAMS: usize = 12;
/// Values of one variable.
pub const VALUES: usize = 256;
/// Commands that one command may stand for, each with other values.
pub const VARIANTS: usize = 1024;
/// Commands that are read in one round, each with every value of its variables and each function with every call.
pub const STEPS: usize = 8 << 10;
/// Words that braces may stand for.
pub const WORDS: usize = 64;
/// How often a program is gone through before what its variables may be has settled.
pub const ROUNDS: usize = 5;

/// Brackets and quotes within each other, whatever they mean, beyond which nothing is parsed.
const NESTED: usize = 200;
/// The same, up to which the stack of the caller is enough.
const SHALLOW: usize = 12;
/// Parentheses within each other: the parser tries several readings of each, so its work doubles with every one.
const PARENTHESES: usize = 9;
/// Compound commands within each other.
const COMPOUNDS: usize = 40;
/// Coprocesses, each of which the parser reads twice.
const COPROCESSES: usize = 4;
/// Room for parsers, which are recursive and generous with their frames. Only what is touched of it costs memory.
const STACK: usize = 256 << 20;

/// How deep the brackets of a text are at most, read without regard to quotes; so no quote hides any.
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

pub fn is_too_deep(depth: usize) -> bool {
    depth > NESTED
}

/// Whether the stack of the caller is enough for it.
pub fn is_shallow(depth: usize) -> bool {
    depth <= SHALLOW
}

/// Does this here; none where it panics.
pub fn here<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Does this with a stack of its own; none where it panics.
pub fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let room = thread::Builder::new().stack_size(STACK);
        let at_work = room.spawn_scoped(scope, work);
        at_work.expect("a thread can be started").join().ok()
    })
}

/// How deep these tokens are nested; none where the parser may not see them.
pub fn nesting(tokens: &[Token]) -> Option<usize> {
    let (mut open, mut compounds, mut coprocesses, mut deepest) = (0_usize, 0_usize, 0, 0);
    // Words such as `for` only open something where a command may begin.
    let mut begins = true;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Operator(operator, _) => {
                match operator.as_str() {
                    "(" => open += 1,
                    ")" => open = open.saturating_sub(1),
                    _ => {}
                }
                begins = !operator.starts_with(['<', '>']);
            }
            Token::Word(word, _) => {
                match word.as_str() {
                    "if" | "while" | "until" | "for" | "case" | "{" if begins => compounds += 1,
                    "fi" | "done" | "esac" | "}" => compounds = compounds.saturating_sub(1),
                    "coproc" => coprocesses += 1,
                    _ => {}
                }
                begins = RESERVED.contains(&word.as_str());
                if makes_the_parser_panic(word, tokens.get(index + 1)) {
                    return None;
                }
            }
        }
        if open > PARENTHESES || compounds > COMPOUNDS || coprocesses > COPROCESSES {
            return None;
        }
        deepest = deepest.max(open + compounds);
    }
    Some(deepest)
}

/// After these a command begins.
const RESERVED: [&str; 12] = [
    "!", "{", "if", "then", "else", "elif", "while", "until", "do", "coproc", "time", "in",
];

/// Numbers that it takes for small without a look: a file descriptor, and `~1` within an index.
fn makes_the_parser_panic(word: &str, next: Option<&Token>) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let redirects = matches!(next, Some(Token::Operator(o, _)) if o.starts_with(['<', '>']));
    let descriptor = redirects && word.len() > 9 && digits(word) == word.len();
    let after_tilde = word.split('~').skip(1);
    descriptor
        || after_tilde
            .map(|rest| digits(rest.trim_start_matches(['+', '-'])))
            .any(|n| n > 9)
}
