//! Label selectors as kubectl takes them: `a=b,c!=d,e in (x,y),f notin (z),g,!h`.

use crds::v1alpha1::{Operator, Requirement, Selector};

/// Reads a selector.
pub fn parse(typed: &str) -> Result<Selector, String> {
    let mut selector = Selector::default();
    for part in split(typed) {
        add(&mut selector, part)?;
    }
    if selector == Selector::default() {
        return Err(
            "an empty selector would take every host; name labels, or hosts with --host".to_owned(),
        );
    }
    Ok(selector)
}

/// Splits at commas outside of parentheses.
fn split(typed: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let parts = typed.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn add(selector: &mut Selector, part: &str) -> Result<(), String> {
    let wrong = || {
        format!(
            "{part:?} is no requirement; write key=value, key!=value, key in (a,b), key notin (a,b), key or !key"
        )
    };
    if let Some((head, values)) = part.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(wrong)?;
        let (key, word) = head
            .trim()
            .rsplit_once(char::is_whitespace)
            .ok_or_else(wrong)?;
        let operator = match word {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            _ => return Err(wrong()),
        };
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        return require(selector, key.trim(), operator, values).ok_or_else(wrong);
    }
    if let Some((key, value)) = part.split_once("!=") {
        return require(
            selector,
            key.trim(),
            Operator::NotIn,
            vec![value.trim().to_owned()],
        )
        .ok_or_else(wrong);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        let (key, value) = (key.trim(), value.trim());
        if !is_key(key) {
            return Err(wrong());
        }
        return match selector
            .match_labels
            .insert(key.to_owned(), value.to_owned())
        {
            Some(before) if before != value => {
                Err(format!("no host has both {key}={before} and {key}={value}"))
            }
            _ => Ok(()),
        };
    }
    let (key, operator) = match part.strip_prefix('!') {
        Some(key) => (key.trim(), Operator::DoesNotExist),
        None => (part, Operator::Exists),
    };
    require(selector, key, operator, Vec::new()).ok_or_else(wrong)
}

fn require(
    selector: &mut Selector,
    key: &str,
    operator: Operator,
    values: Vec<String>,
) -> Option<()> {
    let requirement = Requirement {
        key: key.to_owned(),
        operator,
        values,
    };
    is_key(key).then(|| selector.match_expressions.push(requirement))
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_form_is_read_and_asks_for_the_same() {
        for (typed, asks) in [
            ("group=web", "group=web"),
            ("group==web, tier!=db", "group=web,tier notin (db)"),
            (
                "tier in (a, b),zone notin (c)",
                "tier in (a,b),zone notin (c)",
            ),
            ("example.com/gpu,!old", "example.com/gpu,!old"),
        ] {
            assert_eq!(parse(typed).expect(typed).query(), asks);
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for typed in [
            "",
            ",",
            "=web",
            "a b",
            "tier among (a)",
            "tier in (a",
            "a=1,a=2",
            "rm -rf",
        ] {
            assert!(parse(typed).is_err(), "{typed}");
        }
    }
}
