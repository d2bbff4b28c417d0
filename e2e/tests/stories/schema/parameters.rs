//! Parameters: as Jobs and Scripts declare them, and as objects of their own.

use serde_json::{Value, json};

use super::{Case, merge};

pub fn cases() -> Vec<Case> {
    [
        parameter_cases("Job"),
        parameter_cases("Script"),
        origin_cases(),
        value_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn parameter(over: &Value) -> Value {
    let mut one = json!({"name": "unit"});
    merge(&mut one, over);
    json!({"parameters": [one]})
}

fn parameter_cases(kind: &'static str) -> Vec<Case> {
    vec![
        Case {
            kind,
            accept: parameter(&json!({"required": true})),
            reject: parameter(&json!({"required": true, "default": "web"})),
            message: "a required parameter has no default",
        },
        Case {
            kind,
            accept: parameter(&json!({"sensitive": true})),
            reject: parameter(&json!({"sensitive": true, "default": "web"})),
            message: "a sensitive parameter has no default; its value comes from a Secret",
        },
        Case {
            kind,
            accept: parameter(&json!({"allowed": ["web", "db"], "default": "web"})),
            reject: parameter(&json!({"allowed": ["web", "db"], "default": "mail"})),
            message: "default must be one of allowed",
        },
    ]
}

/// Where a declared parameter gets its value from.
fn origin_cases() -> Vec<Case> {
    let from = |over: Value| {
        let mut one = json!({"from": {"name": "p"}});
        merge(&mut one, &over);
        parameter(&one)
    };
    vec![
        Case {
            kind: "Job",
            accept: from(json!({"sensitive": true})),
            reject: from(json!({"default": "web"})),
            message: "a parameter that comes from a Parameter has no default and is not required",
        },
        Case {
            kind: "Script",
            accept: parameter(&json!({})),
            reject: from(json!({})),
            message: "a Script's parameter has no from; its step gives the value, as a parameter of the Job may that comes from a Parameter",
        },
    ]
}

fn value_cases() -> Vec<Case> {
    let kind = "Parameter";
    let case = |accept: Value, reject: Value, message| Case {
        kind,
        accept,
        reject,
        message,
    };
    let secret = json!({"name": "s", "key": "k"});
    vec![
        case(
            json!({"value": null, "secretRef": secret}),
            json!({"secretRef": secret}),
            "give either value or secretRef",
        ),
        case(
            json!({"pattern": "1"}),
            json!({"value": null, "secretRef": secret, "pattern": "1"}),
            "type, pattern and allowed are of a plain value; what a Secret holds is read by runs alone",
        ),
        case(
            json!({"type": "Integer", "value": "-12"}),
            json!({"type": "Integer", "value": "1.5"}),
            "value is no whole number of at most 15 digits, which type Integer asks for",
        ),
        case(
            json!({"type": "Number", "value": "-1.5"}),
            json!({"type": "Number", "value": "1e9"}),
            "value is no decimal number, such as -1.5, which type Number asks for",
        ),
        case(
            json!({"type": "Boolean", "value": "true"}),
            json!({"type": "Boolean", "value": "True"}),
            "value is neither true nor false, which type Boolean asks for",
        ),
        case(
            json!({"type": "Number", "minimum": 1}),
            json!({"maximum": 1}),
            "minimum and maximum are of type Integer or Number",
        ),
        case(
            json!({"type": "Integer", "minimum": 1}),
            json!({"type": "Integer", "minimum": 2}),
            "value is below minimum",
        ),
        case(
            json!({"type": "Integer", "maximum": 1}),
            json!({"type": "Number", "value": "1.5", "maximum": 1}),
            "value is above maximum",
        ),
        case(
            json!({"allowed": ["1", "2"]}),
            json!({"allowed": ["2"]}),
            "value is not one of allowed",
        ),
        case(
            json!({"pattern": "1|2"}),
            json!({"value": "12", "pattern": "1|2"}),
            "value does not match pattern",
        ),
    ]
}
