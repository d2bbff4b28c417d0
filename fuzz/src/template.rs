//! A template of any text ends within its fuel and its length, names nothing that is not there, and never tells a secret.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use decide::template::{Known, Run, Scope, Target, check, passes_on, render};
use libfuzzer_sys::fuzz_target;

/// A rendered text is at most this long.
const LONGEST: usize = 16 * 1024;

fuzz_target!(|text: &str| {
    let params: BTreeMap<_, _> = [("unit".to_owned(), "{{ params.unit }}<web>".to_owned())].into();
    let scope = Scope {
        params: &params,
        target: Target {
            name: "vm1",
            address: "192.0.2.1",
        },
        run: Run {
            name: "r",
            namespace: "n",
        },
        item: "{{ item }}",
        outputs: &params,
    };
    let known = Known {
        params: BTreeSet::from(["unit"]),
        secrets: BTreeSet::from(["password"]),
        outputs: BTreeSet::from(["unit"]),
        secret_outputs: BTreeSet::from(["token"]),
        item: true,
    };
    let checked = check("f", text, &known);
    let rendered = render("f", text, &scope);
    assert_eq!(rendered, render("f", text, &scope), "the same every time");
    if let Ok(rendered) = &rendered {
        assert!(
            rendered.len() <= LONGEST.max(text.len()),
            "it ends within its bound"
        );
    }
    if let Some((of, name)) = passes_on(text) {
        assert!(!name.contains(['{', '}', '.', ' ']), "one whole name");
        let plain = match of {
            "params" => &known.params,
            _ => &known.outputs,
        };
        assert!(
            plain.contains(name) || checked.is_err(),
            "{of}.{name} is known, or refused"
        );
    }
});
