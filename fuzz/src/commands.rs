//! Whatever a script says, its analysis ends, is the same every time, and stays within its bounds; and a command stays found in whatever comes before it on lines of its own.
#![no_main]

use std::sync::LazyLock;

use crds::v1alpha1::{CommandAction, CommandPolicySpec, Interpreter};
use decide::command::{Rulebook, Source, analyse, judge};
use libfuzzer_sys::fuzz_target;

/// Found commands and unknowns together are not more than these.
const MOST: usize = (16 << 10) + 1;

static BOOK: LazyLock<Rulebook> = LazyLock::new(|| {
    let spec: CommandPolicySpec = serde_json::from_str("{}").expect("the default");
    Rulebook::of("default", &spec).expect("the default")
});

fuzz_target!(|text: &str| {
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    let interpreter = if first == "p" {
        Interpreter::Python
    } else {
        Interpreter::Bash
    };
    let source = Source::Script {
        interpreter,
        text: rest,
    };
    let analysis = analyse(&source);
    assert_eq!(analysis, analyse(&source), "the same every time");
    assert!(analysis.commands.len() + analysis.unknowns.len() <= MOST);
    let judgement = judge(&analysis, [&*BOOK]);
    assert_eq!(judgement, judge(&analysis, [&*BOOK]));
    if interpreter == Interpreter::Bash {
        // Whatever comes first, it is held for what follows it or for not being understood.
        let text = format!("{rest}\nrm -rf /\n");
        let source = Source::Script {
            interpreter,
            text: &text,
        };
        let swallowed = rest.contains("<<") || rest.contains('#') || rest.ends_with('\\');
        let action = judge(&analyse(&source), [&*BOOK]).action;
        assert!(
            swallowed || action >= CommandAction::RequireApproval,
            "{text:?}"
        );
    }
});
