//! Whatever comes to a door of the API server, its answer is the same every time; what is known to be dangerous is refused among whatever else there is; and what has no shape is an error.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use crds::v1alpha1::CommandPolicySpec;
use decide::{
    admission::{Asked, Exec, Matter, Memory, Request, Work, Workload, Written, answer},
    command::Rulebook,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static BOOK: LazyLock<Rulebook> = LazyLock::new(|| {
    let spec: CommandPolicySpec =
        serde_json::from_str(r#"{"applyTo": ["PodExec", "Workloads", "Scripts", "Runs"]}"#)
            .expect("a spec");
    Rulebook::of("all", &spec).expect("it can be used")
});

static MEMORY: LazyLock<Memory> = LazyLock::new(Memory::default);

/// What the answer is: nothing, or whether it refuses.
fn asked<M: Matter>(object: &str, before: Option<&str>) -> Option<bool> {
    let asked = || {
        Some(Asked {
            subresource: "exec",
            matter: serde_json::from_str::<M>(object).ok()?,
            before: before.map(serde_json::from_str).transpose().ok()?,
            ticket: None,
            own: None,
        })
    };
    let first = answer(asked()?, &BOOK, &MEMORY);
    let afresh = answer(asked()?, &BOOK, &Memory::default());
    assert_eq!(first, afresh, "what is remembered is what is found");
    Some(first.refused.is_some())
}

/// The same, for each way to read it.
fn at_any(object: &str, before: Option<&str>) {
    asked::<Exec>(object, before);
    asked::<Workload>(object, before);
    let refused = asked::<Written>(object, before);
    assert!(refused != Some(true), "a Script is let in");
}

/// How much is told of what is written, where it can be read.
fn warned(resource: &str, object: &str) -> Option<usize> {
    let request = Request {
        object,
        before: None,
    };
    let work = Work::read(resource, &request).ok()??;
    Some(work.warnings(&BTreeMap::new(), &BOOK).len())
}

fuzz_target!(|input: (String, Vec<String>, bool)| {
    let (text, words, typed) = input;
    at_any(&text, None);
    at_any("{}", Some(&text));
    for resource in ["jobs", "jobruns", "scheduledtasks"] {
        warned(resource, &text);
    }
    let step = |content: &str| json!({"name": "a", "inline": {"content": content}});
    let job = json!({"spec": {"steps": [step(&text), step("rm -rf /")]}});
    let told = warned("jobs", &job.to_string());
    assert!(told.is_some_and(|told| told > 0), "{job}");
    let exec = json!({"command": words, "stdin": typed, "tty": false});
    let refused = asked::<Exec>(&exec.to_string(), None);
    assert!(!typed || refused == Some(true), "somebody types: {exec}");
    let container = |words: Value| json!({"name": "a", "command": words, "env": [{"name": text}]});
    let pod = json!({"spec": {"containers": [container(json!(words)), container(json!(["sh", "-c", "rm -rf /"]))]}});
    let pod = pod.to_string();
    assert_eq!(asked::<Workload>(&pod, None), Some(true), "{pod}");
    assert_eq!(asked::<Workload>(&pod, Some(&pod)), Some(false), "{pod}");
});
