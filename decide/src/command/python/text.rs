//! Texts and lists of texts in a program of Python, as far as they are written out.

use ruff_python_ast::{Expr, FStringPart, InterpolatedStringElement, Operator};

use super::{
    super::{Part, Word},
    names::{Held, Names},
};

/// Longest text that is put together.
const LONGEST: usize = 16 << 10;
/// Pieces that a text is put together from.
const PIECES: usize = 64;

/// The text that an expression gives.
pub fn word(expression: &Expr, names: &Names) -> Word {
    within(expression, names, PIECES)
}

fn within(expression: &Expr, names: &Names, pieces: usize) -> Word {
    let word = pieces
        .checked_sub(1)
        .and_then(|pieces| read(expression, names, pieces));
    let word = word.unwrap_or_else(|| Word::unknown("…"));
    if word.shown().len() > LONGEST {
        Word::unknown("…")
    } else {
        word
    }
}

fn read(expression: &Expr, names: &Names, pieces: usize) -> Option<Word> {
    match expression {
        Expr::StringLiteral(literal) => Some(Word::text(literal.value.to_str())),
        Expr::BytesLiteral(literal) => String::from_utf8(literal.value.bytes().collect())
            .ok()
            .map(Word::text),
        Expr::FString(formatted) => {
            let mut whole = Word::default();
            for part in formatted.value.as_slice() {
                match part {
                    FStringPart::Literal(text) => whole.extend(&Word::text(text.as_str())),
                    FStringPart::FString(text) => {
                        for element in &*text.elements {
                            match element {
                                InterpolatedStringElement::Literal(text) => {
                                    whole.extend(&Word::text(&*text.value));
                                }
                                InterpolatedStringElement::Interpolation(inner) => {
                                    whole.extend(&within(&inner.expression, names, pieces));
                                }
                            }
                        }
                    }
                }
            }
            Some(whole)
        }
        Expr::Name(name) => match names.held(name.id.as_str())? {
            Held::Text(text) => Some(text.clone()),
            _ => None,
        },
        Expr::BinOp(sum) if sum.op == Operator::Add => {
            let mut whole = within(&sum.left, names, pieces);
            whole.extend(&within(&sum.right, names, pieces));
            Some(whole)
        }
        Expr::BinOp(format) if format.op == Operator::Mod => Some(filled(
            &within(&format.left, names, pieces),
            &['s', 'd', 'r', 'i', 'f'],
        )),
        Expr::Call(call) => called(call, names, pieces),
        Expr::Named(named) => Some(within(&named.value, names, pieces)),
        _ => None,
    }
}

/// A text with something unknown for each place that is filled in.
fn filled(text: &Word, ends: &[char]) -> Word {
    let Some(known) = text.known() else {
        return Word::unknown("…");
    };
    let mut whole = Word::default();
    for (index, piece) in known.split('%').enumerate() {
        let rest = if index == 0 {
            piece
        } else {
            whole.extend(&Word::unknown("…"));
            piece.find(ends).map_or(piece, |at| &piece[at + 1..])
        };
        whole.push(Part::Text(rest.to_owned()));
    }
    whole
}

/// Methods of texts whose result is written out.
fn called(call: &ruff_python_ast::ExprCall, names: &Names, pieces: usize) -> Option<Word> {
    let arguments = &call.arguments.args;
    if names.path(&call.func).as_deref() == Some("os.path.join") {
        return Some(between(
            "/",
            arguments.iter().map(|one| within(one, names, pieces)),
        ));
    }
    let Expr::Attribute(method) = &*call.func else {
        return None;
    };
    let of = within(&method.value, names, pieces);
    match method.attr.as_str() {
        "join" => Some(between(
            &of.known()?,
            list(arguments.first()?, names)?.into_iter(),
        )),
        "format" => {
            let known = of.known()?;
            let mut whole = Word::default();
            for (index, piece) in known.split('{').enumerate() {
                let rest = if index == 0 {
                    piece
                } else {
                    piece.split_once('}').map_or("", |(_, rest)| rest)
                };
                if index > 0 {
                    whole.extend(&Word::unknown("…"));
                }
                whole.push(Part::Text(rest.to_owned()));
            }
            Some(whole)
        }
        "strip" | "encode" | "decode" => Some(of),
        _ => None,
    }
}

fn between(separator: &str, words: impl Iterator<Item = Word>) -> Word {
    let mut whole = Word::default();
    for (index, word) in words.enumerate() {
        if index > 0 {
            whole.push(Part::Text(separator.to_owned()));
        }
        whole.extend(&word);
    }
    whole
}

/// The texts of a list that is written out.
pub fn list(expression: &Expr, names: &Names) -> Option<Vec<Word>> {
    list_within(expression, names, PIECES)
}

fn list_within(expression: &Expr, names: &Names, pieces: usize) -> Option<Vec<Word>> {
    let pieces = pieces.checked_sub(1)?;
    let all = |elements: &[Expr]| {
        let each = |one: &Expr| match one {
            Expr::Starred(starred) => list_within(&starred.value, names, pieces)
                .unwrap_or_else(|| vec![Word::unknown("…")]),
            one => vec![within(one, names, pieces)],
        };
        elements.iter().flat_map(each).collect::<Vec<_>>()
    };
    let words = match expression {
        Expr::List(list) => all(&list.elts),
        Expr::Tuple(tuple) => all(&tuple.elts),
        Expr::Name(name) => match names.held(name.id.as_str())? {
            Held::List(words) => words.clone(),
            _ => return None,
        },
        Expr::BinOp(sum) if sum.op == Operator::Add => {
            let unknown = || vec![Word::unknown("…")];
            match (
                list_within(&sum.left, names, pieces),
                list_within(&sum.right, names, pieces),
            ) {
                (None, None) => return None,
                (left, right) => {
                    [left.unwrap_or_else(unknown), right.unwrap_or_else(unknown)].concat()
                }
            }
        }
        Expr::Call(call) => return split(call, names),
        _ => return None,
    };
    (words.len() < 1000).then_some(words)
}

/// `shlex.split("…")` and `"…".split()`.
fn split(call: &ruff_python_ast::ExprCall, names: &Names) -> Option<Vec<Word>> {
    let text = if names.path(&call.func).as_deref() == Some("shlex.split") {
        word(call.arguments.args.first()?, names)
    } else {
        match &*call.func {
            Expr::Attribute(method)
                if method.attr.as_str() == "split" && call.arguments.args.is_empty() =>
            {
                word(&method.value, names)
            }
            _ => return None,
        }
    };
    // Where a value is put in, its words begin and end where nobody sees.
    let known = text.known()?;
    Some(
        known
            .split_ascii_whitespace()
            .map(|word| Word::text(word.trim_matches(['"', '\''])))
            .collect(),
    )
}
