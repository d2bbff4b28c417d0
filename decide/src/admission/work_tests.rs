use std::collections::BTreeMap;

use crds::v1alpha1::{ChangeCalendar, JobSpec, ScriptSpec};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Request, Work, closed};
use crate::{
    change::conflict::{Diary, Kept as _},
    command::Rulebook,
};

/// Beeps are denied, knocks are held, rings need a ticket and hums are warned of.
fn house(more: &Value) -> Rulebook {
    let rule = |command: &str, action: &str| json!({"name": command, "match": {"commands": [command]}, "action": action, "why": "w", "safer": "s."});
    let mut policy = json!({"builtIn": {"packs": []},
        "rules": [rule("beep", "Deny"), rule("knock", "RequireApproval"), rule("hum", "Warn"), rule("ring", "RequireTicket")]});
    let fields = policy.as_object_mut().expect("fields");
    fields.extend(more.as_object().expect("fields").clone());
    Rulebook::of("p", &serde_json::from_value(policy).expect("a policy")).expect("it can be used")
}

fn inline(name: &str, content: &str) -> Value {
    json!({"name": name, "inline": {"content": content}})
}

fn job(steps: &Value) -> Value {
    json!({"targets": {"hosts": {"names": ["h"]}}, "steps": steps})
}

fn object(spec: &Value) -> Value {
    json!({"metadata": {"name": "j"}, "spec": spec})
}

fn read(resource: &str, spec: &Value, before: Option<&Value>) -> Option<Work> {
    let (now, before) = (object(spec), before.map(|spec| object(spec).to_string()));
    let object = now.to_string();
    let request = Request {
        object: &object,
        before: before.as_deref(),
    };
    Work::read(resource, &request).expect("it can be read")
}

fn said(work: &Work) -> Vec<String> {
    work.warnings(&BTreeMap::new(), &house(&json!({})))
}

/// What is said of a Job with these steps that is written.
fn of_job(steps: &Value) -> Vec<String> {
    said(&read("jobs", &job(steps), None).expect("it is new"))
}

#[test]
fn a_job_is_let_in_with_a_warning_of_what_becomes_of_its_runs_and_the_way_on() {
    let known = "rule {rule} of CommandPolicy p: w; instead: s: {rule}";
    for (content, told) in [
        ("true", None),
        (
            "true\nbeep",
            Some("steps.a at 2:1: no run begins with it: "),
        ),
        (
            "knock",
            Some(
                "steps.a at 1:1: runs wait until somebody else has approved it (kubectl pilothouse approve job/j): ",
            ),
        ),
        (
            "ring",
            Some(
                "steps.a at 1:1: runs wait for a live ChangeTicket (kubectl pilothouse run j --ticket NAME): ",
            ),
        ),
        ("hum", Some("steps.a at 1:1: ")),
    ] {
        let rule = content.lines().last().unwrap_or_default();
        let wanted = told.map(|told| format!("{told}{}", known.replace("{rule}", rule)));
        let found = of_job(&json!([inline("a", content)]));
        assert_eq!(found, wanted.into_iter().collect::<Vec<_>>(), "{content}");
    }
}

#[test]
fn every_step_that_starts_a_command_is_looked_at_and_the_strictest_is_told_first() {
    let exec = json!({"name": "b", "exec": {"command": ["sh", "-c", "beep"]}});
    let pod = json!({"name": "c", "pod": {"image": "i", "command": ["knock"]}});
    let of = |step: &Value| of_job(&json!([step])).len();
    assert_eq!([of(&exec), of(&pod)], [1, 1]);
    let quiet = json!({"name": "d", "pod": {"image": "i"}});
    assert_eq!(of(&quiet), 0, "nothing is known of an image");
    let output = json!({"name": "e", "exec": {"command": ["echo", "{{ params.x }}"]}});
    assert_eq!(of(&output), 0, "an argument may be anything");
    let all = of_job(&json!([inline("a", "hum"), pod, exec]));
    let first: Vec<_> = all
        .iter()
        .filter_map(|told| told.split(' ').next())
        .collect();
    assert_eq!(first, ["steps.b", "steps.c", "steps.a"]);
    let many: Vec<_> = (0..9).map(|n| inline(&format!("s{n}"), "hum")).collect();
    assert_eq!(of_job(&json!(many)).len(), 5);
    let mut taken_back = job(&json!([inline("a", "true")]));
    taken_back["onFailure"] = json!([inline("back", "beep")]);
    let told = said(&read("jobs", &taken_back, None).expect("it is new"));
    assert!(told[0].starts_with("onFailure.back at 1:1: "), "{told:?}");
    let long = of_job(&json!([inline("a", &format!("beep {}", "x".repeat(5000)))]));
    assert!(long[0].len() <= 800, "{}", long[0].len());
}

#[test]
fn no_more_is_judged_than_an_answer_has_time_for() {
    let long = format!("{}beep", "true\n".repeat(8 << 10));
    let step = |n: usize| inline(&format!("s{n}"), &long);
    let of = |count: usize| {
        let mut steps: Vec<_> = (0..count).map(step).collect();
        steps.push(inline("last", "knock"));
        let told = of_job(&json!(steps));
        told.iter().filter(|told| told.contains("beep")).count()
    };
    assert_eq!([of(1), of(4)], [1, 4]);
    let many = of_job(&json!((0..40).map(step).collect::<Vec<_>>()));
    assert_eq!(many.len(), 5);
    let one = |text: String| of_job(&json!([inline("a", &text), inline("b", "knock")]));
    let told = one("true\n".repeat(60 << 10));
    assert!(
        told.len() == 1 && told[0].starts_with("steps.b "),
        "{told:?}"
    );
}

#[test]
fn what_is_named_is_told_of_without_the_command_once_it_is_known() {
    let script: ScriptSpec =
        serde_json::from_value(json!({"content": "true\nbeep secret"})).expect("a Script");
    let scripts = BTreeMap::from([("s".to_owned(), script)]);
    let steps = json!([{"name": "a", "script": {"name": "s"}}]);
    let of = |work: &Work| work.warnings(&scripts, &house(&json!({})));
    let own = read("jobs", &job(&steps), None).expect("it is new");
    assert_eq!(own.scripts(), ["s".to_owned()].into());
    assert_eq!(own.unknown(), None);
    let wanted = "steps.a (Script s) at 2:1: no run begins with it: rule beep of CommandPolicy p: w; instead: s";
    assert_eq!(of(&own), [wanted]);
    assert_eq!(said(&own), [""; 0], "the Script is not known");
    for (resource, spec) in [
        ("jobruns", json!({"jobRef": {"name": "j"}})),
        (
            "scheduledtasks",
            json!({"jobRef": {"name": "j"}, "schedule": {"every": "1h"}}),
        ),
    ] {
        let mut named = read(resource, &spec, None).expect("it is new");
        assert_eq!((named.unknown(), of(&named)), (Some("j"), vec![]));
        let steps = json!([inline("a", "knock secret")]);
        let does: JobSpec = serde_json::from_value(job(&steps)).expect("a Job");
        named.becomes(does);
        let told = of(&named);
        assert_eq!(named.unknown(), None);
        assert!(told[0].contains("approve job/j"), "{told:?}");
        assert!(!told[0].contains("secret"), "{told:?}");
    }
}

#[test]
fn a_job_that_is_written_in_a_run_has_the_way_on_of_the_run_and_a_schedule_has_no_ticket() {
    let of = |content: &str| {
        let run = json!({"job": job(&json!([inline("a", content)]))});
        said(&read("jobruns", &run, None).expect("it is new")).remove(0)
    };
    assert!(of("knock").contains("approve run/NAME"), "{}", of("knock"));
    assert!(of("ring").contains("spec.ticket"), "{}", of("ring"));
    let task = json!({"jobRef": {"name": "j"}, "schedule": {"every": "1h"}});
    let mut task = read("scheduledtasks", &task, None).expect("it is new");
    let steps = json!([inline("a", "ring")]);
    task.becomes(serde_json::from_value(job(&steps)).expect("a Job"));
    let told = said(&task).remove(0);
    assert!(told.contains("no ChangeTicket covers"), "{told}");
    assert!(told.contains("make Job j the plan of one"), "{told}");
}

#[test]
fn nothing_is_said_of_what_is_as_it_was_or_of_what_no_rule_is_asked() {
    let beep = job(&json!([inline("a", "beep")]));
    assert!(read("jobs", &beep, Some(&beep)).is_none());
    let other = job(&json!([inline("a", "true")]));
    assert!(read("jobs", &beep, Some(&other)).is_some());
    assert!(read("scripts", &beep, None).is_none());
    let work = read("jobs", &beep, None).expect("it is new");
    for (more, count) in [
        (json!({}), 1),
        (json!({"mode": "Warn"}), 1),
        (json!({"mode": "Audit"}), 0),
        (json!({"applyTo": ["Scripts", "PodExec"]}), 0),
    ] {
        let told = work.warnings(&BTreeMap::new(), &house(&more));
        assert_eq!(told.len(), count, "{more}: {told:?}");
    }
    let request = Request {
        object: "[1]",
        ..Request::default()
    };
    assert!(Work::read("jobs", &request).is_err());
}

#[test]
fn a_task_is_let_in_with_a_warning_of_the_calendars_that_are_closed_now() {
    let mut diary = Diary::default();
    let calendar = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "ChangeCalendar", "metadata": {"name": "sales", "namespace": "shop"},
        "spec": {"default": "Open", "timeZone": "UTC", "events": [{"name": "sale", "effect": "Freeze", "reason": "it sells", "start": "2026-12-24", "end": "2026-12-31"}]}});
    let calendar: ChangeCalendar = serde_json::from_value(calendar).expect("a calendar");
    calendar.keep(&mut diary);
    let task = |more: Value| {
        let mut spec = json!({"jobRef": {"name": "j"}, "schedule": {"every": "1h"}, "calendarRefs": [{"name": "sales"}, {"name": "unknown"}]});
        let fields = spec.as_object_mut().expect("fields");
        fields.extend(more.as_object().expect("fields").clone());
        object(&spec).to_string()
    };
    let of = |object: &str, before: Option<&str>, namespace: &str, now: &str| {
        let request = Request { object, before };
        let now: Timestamp = now.parse().expect("a time");
        closed(&request, namespace, &diary, now).expect("it can be read")
    };
    let (plain, sale) = (task(json!({})), "2026-12-25T00:00:00Z");
    assert_eq!(
        of(&plain, None, "shop", sale),
        [
            "nothing fires now: ChangeCalendar sales is closed by sale (it sells), until 2027-01-01T00:00:00Z"
        ]
    );
    let suspended = task(json!({"suspend": true}));
    for (object, before, namespace, now) in [
        (&plain, None, "shop", "2026-12-01T00:00:00Z"),
        (&plain, None, "bank", sale),
        (&plain, Some(plain.as_str()), "shop", sale),
        (&suspended, None, "shop", sale),
    ] {
        assert_eq!(of(object, before, namespace, now), [""; 0], "{now}");
    }
}
