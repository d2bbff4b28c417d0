//! Whatever comes to a door of the API server, its answer is the same every time; what is known to be dangerous is refused among whatever else there is; and what has no shape is an error.
#![no_main]

use std::sync::LazyLock;

use crds::v1alpha1::CommandPolicySpec;
use decide::{
    admission::{Door, Request, answer},
    command::Rulebook,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static BOOK: LazyLock<Rulebook> = LazyLock::new(|| {
    let spec: CommandPolicySpec =
        serde_json::from_str(r#"{"applyTo": ["PodExec", "Workloads", "Scripts"]}"#)
            .expect("a spec");
    Rulebook::of("all", &spec).expect("it can be used")
});

/// What the answer is: nothing, or whether it refuses.
fn asked(door: Door, object: &str, before: Option<&str>) -> Option<bool> {
    let request = Request {
        subresource: "exec",
        object,
        before,
        ticket: None,
        own: None,
    };
    let first = answer(door, &request, &BOOK).ok();
    assert_eq!(first, answer(door, &request, &BOOK).ok());
    first.map(|answer| answer.refused.is_some())
}

fuzz_target!(|input: (String, Vec<String>, bool)| {
    let (text, words, typed) = input;
    for door in Door::ALL {
        let refused = asked(door, &text, None);
        assert!(door != Door::Script || refused != Some(true));
        asked(door, "{}", Some(&text));
    }
    let exec = json!({"command": words, "stdin": typed, "tty": false});
    let refused = asked(Door::Exec, &exec.to_string(), None);
    assert!(!typed || refused == Some(true), "somebody types: {exec}");
    let container = |words: Value| json!({"name": "a", "command": words, "env": [{"name": text}]});
    let pod = json!({"spec": {"containers": [container(json!(words)), container(json!(["sh", "-c", "rm -rf /"]))]}});
    let pod = pod.to_string();
    assert_eq!(asked(Door::Workload, &pod, None), Some(true), "{pod}");
    assert_eq!(
        asked(Door::Workload, &pod, Some(&pod)),
        Some(false),
        "{pod}"
    );
});
