//! Telling `( ( … ) )` from `(( … ))`: the parser takes both for arithmetic, and a shell only the second.

use brush_parser::{SourceSpan, Token};

/// Puts a command that does nothing between the parentheses of subshells, so that they are not read as arithmetic.
pub fn apart(tokens: Vec<Token>) -> Vec<Token> {
    let is = |index: usize, sign: &str| matches!(tokens.get(index), Some(Token::Operator(operator, _)) if operator == sign);
    let pairs = (0..tokens.len()).filter(|index| is(*index, "(") && is(*index + 1, "("));
    let pairs: Vec<usize> = pairs.collect();
    if pairs.is_empty() {
        return tokens;
    }
    let ends = ends(&tokens);
    let mut within_test = false;
    // Where the arithmetic ends that is being read: in it parentheses are what they are.
    let mut until = 0;
    let mut kept = Vec::with_capacity(tokens.len() + 2 * pairs.len());
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word, _) if word == "[[" => within_test = true,
            Token::Word(word, _) if word == "]]" => within_test = false,
            _ => {}
        }
        kept.push(token.clone());
        if within_test || index < until || pairs.binary_search(&index).is_err() {
            continue;
        }
        if is_arithmetic(&tokens, &ends, index) {
            until = ends[index];
        } else {
            let span = token.location().clone();
            kept.push(Token::Word(":".to_owned(), span.clone()));
            kept.push(Token::Operator(";".to_owned(), span));
        }
    }
    kept
}

/// Where each parenthesis ends, by its index.
fn ends(tokens: &[Token]) -> Vec<usize> {
    let mut ends = vec![usize::MAX; tokens.len()];
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Operator(operator, _) if operator == "(" => open.push(index),
            Token::Operator(operator, _) if operator == ")" => {
                if let Some(start) = open.pop() {
                    ends[start] = index;
                }
            }
            _ => {}
        }
    }
    ends
}

/// Both its parentheses stand together, at its start and at its end.
fn is_arithmetic(tokens: &[Token], ends: &[usize], index: usize) -> bool {
    let (outer, inner) = (ends[index], ends[index + 1]);
    let touch = |left: usize, right: usize| {
        let (left, right): (&SourceSpan, &SourceSpan) =
            (tokens[left].location(), tokens[right].location());
        left.end.index == right.start.index
    };
    touch(index, index + 1)
        && outer != usize::MAX
        && inner.checked_add(1) == Some(outer)
        && touch(inner, outer)
}
