//! Label and field selectors in the words of Kubernetes, as requirements on rows. Labels of an execution say what it is, so both kinds of selector
//! choose by the same columns.

use crds::names::{LABEL_RUN, LABEL_RUN_UID, LABEL_STEP};
use records::{Column, Selector, Term};

use crate::{failure::Failure, object::LABEL_TARGET};

/// Requirements of one request at most, and values of one requirement.
const MAX_TERMS: usize = 32;
const MAX_VALUES: usize = 256;

/// Reads both selectors of a request.
pub fn selector(labels: Option<&str>, fields: Option<&str>) -> Result<Selector, Failure> {
    let mut terms = Vec::new();
    for requirement in split(labels.unwrap_or_default()) {
        terms.push(label_term(requirement)?);
    }
    for requirement in split(fields.unwrap_or_default()) {
        terms.push(field_term(requirement)?);
    }
    if terms.len() > MAX_TERMS || terms.iter().any(|t| t.values.len() > MAX_VALUES) {
        return Err(Failure::BadRequest(format!(
            "a selector has at most {MAX_TERMS} requirements of {MAX_VALUES} values"
        )));
    }
    Ok(Selector(terms))
}

/// Splits at commas outside of parentheses.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let parts = text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn field_term(requirement: &str) -> Result<Term, Failure> {
    let Some((field, among, value)) = equality(requirement) else {
        return Err(Failure::BadRequest(format!(
            "field selector {requirement:?}: write field=value or field!=value"
        )));
    };
    let column = match field {
        "metadata.name" => Column::Name,
        "metadata.namespace" => Column::Namespace,
        "run" => Column::Run,
        "job" => Column::Job,
        "step" => Column::Step,
        "target" => Column::Target,
        "state" => Column::State,
        _ => {
            return Err(Failure::BadRequest(format!(
                "field label not supported: {field}; there are metadata.name, metadata.namespace, run, job, step, target, state"
            )));
        }
    };
    Ok(term(column, among, [value]))
}

fn label_term(requirement: &str) -> Result<Term, Failure> {
    let wrong = || Failure::BadRequest(format!("label selector {requirement:?} is not understood"));
    if let Some((key, among, value)) = equality(requirement) {
        return Ok(term(label(key, requirement)?, among, [value]));
    }
    if let Some((head, values)) = requirement.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(wrong)?;
        let (key, operator) = head
            .trim()
            .rsplit_once(char::is_whitespace)
            .ok_or_else(wrong)?;
        let among = match operator {
            "in" => true,
            "notin" => false,
            _ => return Err(wrong()),
        };
        return Ok(term(
            label(key.trim(), requirement)?,
            among,
            values.split(',').map(str::trim),
        ));
    }
    // A label is there when its column is not empty.
    match requirement.strip_prefix('!') {
        Some(key) => Ok(term(label(key.trim(), requirement)?, true, [""])),
        None => Ok(term(label(requirement, requirement)?, false, [""])),
    }
}

fn label(key: &str, requirement: &str) -> Result<Column, Failure> {
    match key {
        LABEL_RUN => Ok(Column::Run),
        LABEL_RUN_UID => Ok(Column::RunUid),
        LABEL_STEP => Ok(Column::Step),
        LABEL_TARGET => Ok(Column::Target),
        _ => Err(Failure::BadRequest(format!(
            "label selector {requirement:?}: executions have {LABEL_RUN}, {LABEL_RUN_UID}, {LABEL_STEP} and {LABEL_TARGET}"
        ))),
    }
}

pub fn equality(requirement: &str) -> Option<(&str, bool, &str)> {
    for (operator, among) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = requirement.split_once(operator) {
            return Some((key.trim(), among, value.trim()));
        }
    }
    None
}

fn term<'a>(column: Column, among: bool, values: impl IntoIterator<Item = &'a str>) -> Term {
    Term {
        column,
        among,
        values: values.into_iter().map(ToOwned::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use records::{Column, Term};

    use super::selector;

    fn read(labels: &str, fields: &str) -> Vec<(Column, bool, Vec<String>)> {
        let selector = selector(Some(labels), Some(fields)).expect("a selector");
        let parts = |Term {
                         column,
                         among,
                         values,
                     }| (column, among, values);
        selector.0.into_iter().map(parts).collect()
    }

    #[test]
    fn every_form_of_a_label_selector_is_read() {
        let all = read(
            "pilothouse.dev/run=a, pilothouse.dev/step==b,pilothouse.dev/target!=c,pilothouse.dev/run in (x, y),pilothouse.dev/step notin (z),pilothouse.dev/target,!pilothouse.dev/target",
            "",
        );
        let text = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wanted = [
            (Column::Run, true, text(&["a"])),
            (Column::Step, true, text(&["b"])),
            (Column::Target, false, text(&["c"])),
            (Column::Run, true, text(&["x", "y"])),
            (Column::Step, false, text(&["z"])),
            (Column::Target, false, text(&[""])),
            (Column::Target, true, text(&[""])),
        ];
        assert_eq!(all, wanted);
    }

    #[test]
    fn fields_are_read_and_unknown_ones_refused_by_name() {
        let all = read("", "state=Failed,metadata.name!=x");
        assert_eq!(
            all,
            [
                (Column::State, true, vec!["Failed".into()]),
                (Column::Name, false, vec!["x".into()])
            ]
        );
        for (labels, fields, named) in [
            ("", "spec.x=1", "spec.x"),
            ("app=web", "", "app=web"),
            ("", "state", "state"),
            ("a b c", "", "a b c"),
        ] {
            let refused = selector(Some(labels), Some(fields))
                .expect_err("refused")
                .to_string();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
