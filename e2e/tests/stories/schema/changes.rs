//! Changes and their calendars.

use serde_json::{Value, json};

use super::{Case, merge};

pub fn cases() -> Vec<Case> {
    [change_cases(), solution_cases(), calendar_cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn change_cases() -> Vec<Case> {
    let ticket = |accept, reject, message| Case {
        kind: "ChangeTicket",
        accept,
        reject,
        message,
    };
    let action = |accept, reject, message| Case {
        kind: "ChangeAction",
        accept,
        reject,
        message,
    };
    let job = |over: Value| {
        let mut job = json!({"jobRef": {"name": "j"}, "parameters": {"a": "1"}});
        merge(&mut job, &over);
        json!({"plan": {"guide": null, "job": job}})
    };
    let merged = |mut base: Value, over: &Value| {
        merge(&mut base, over);
        base
    };
    let regions = |over: Value| {
        let window = json!({"start": "2027-01-01T00:00:00Z", "end": "2027-01-01T01:00:00Z"});
        json!({"regions": [merged(json!({"window": window}), &over)]})
    };
    let part_of = json!({"name": "t", "uid": "u", "digest": format!("sha256:{}", "0".repeat(64)), "region": "eu"});
    let secret = json!({"name": "s", "key": "k"});
    let report = |result: Value| json!({"action": "Complete", "result": result});
    vec![
        ticket(
            json!({"window": {"end": "2027-01-01T00:00:01Z"}}),
            json!({"window": {"end": "2027-01-01T00:00:00Z"}}),
            "window.end is not after window.start",
        ),
        ticket(
            json!({"window": {"reserve": "119m"}}),
            json!({"window": {"reserve": "2h"}}),
            "window.reserve leaves no time of the window",
        ),
        ticket(
            job(json!({})),
            json!({"plan": {"job": {"jobRef": {"name": "j"}}}}),
            "a plan is exactly one of job, guide and solution",
        ),
        ticket(
            json!({"plan": {"guide": null, "solution": {"name": "s"}}}),
            json!({"plan": {"solution": {"name": "s"}}}),
            "a plan is exactly one of job, guide and solution",
        ),
        ticket(
            job(json!({"secretParameters": {"b": secret}})),
            job(json!({"secretParameters": {"a": secret}})),
            "a parameter is given in one of parameters and secretParameters",
        ),
        ticket(
            json!({"implementers": {"users": null, "groups": ["g"]}}),
            json!({"implementers": {"users": []}}),
            "somebody has to carry the change out; name users or groups in implementers",
        ),
        ticket(
            json!({"review": [{"name": "l", "groups": ["g"]}]}),
            json!({"review": [{"name": "l"}]}),
            "a level without people agrees to nothing; name users or groups in review",
        ),
        ticket(
            regions(json!({"name": "eu"})),
            regions(json!({"name": "eu", "window": {"end": "2027-01-01T02:00:01Z"}})),
            "the window of a region is not within window",
        ),
        ticket(
            merged(
                job(json!({})),
                &regions(json!({"name": "eu", "parameters": {"a": "2"}})),
            ),
            regions(json!({"name": "eu", "parameters": {"a": "2"}})),
            "parameters of a region are for a plan with a job",
        ),
        ticket(
            regions(json!({"name": "eu"})),
            merged(regions(json!({"name": "eu"})), &json!({"partOf": part_of})),
            "a part of a change has no regions of its own",
        ),
        action(
            report(json!({"outcome": "Failed", "note": "n"})),
            json!({"action": "Complete"}),
            "result is for Complete, which needs it",
        ),
        action(
            report(json!({"outcome": "Success", "verified": "NotVerifiable"})),
            report(json!({"outcome": "Success", "note": "n"})),
            "a Success says how it was verified, and a Failed what went wrong in its note",
        ),
    ]
}

fn solution_cases() -> Vec<Case> {
    let case = |accept, reject, message| Case {
        kind: "ChangeSolution",
        accept,
        reject,
        message,
    };
    let open = |name: &str| {
        let job = json!({"jobRef": {"name": "j"}, "secretParameters": {"key": {"name": "s", "key": "k"}}});
        json!({"plan": {"guide": null, "job": job}, "openParameters": [name]})
    };
    vec![
        case(
            json!({"plan": {"guide": null, "job": {"jobRef": {"name": "j"}}}}),
            json!({"plan": {"job": {"jobRef": {"name": "j"}}}}),
            "the plan of a solution is exactly one of job and guide",
        ),
        case(
            open("unit"),
            json!({"openParameters": ["unit"]}),
            "openParameters are of a Job; a guide has none",
        ),
        case(
            open("unit"),
            open("key"),
            "a parameter whose value is kept in a Secret is not open; take it out of openParameters or of plan.job.secretParameters",
        ),
    ]
}

/// A rule of an event: what is written over a freeze of two hours.
fn event(accept: Value, reject: Value, message: &'static str) -> Case {
    let of = |over: Value| {
        let mut one = json!({"name": "one", "effect": "Freeze", "start": "2027-01-01T10:00", "end": "2027-01-01T12:00"});
        merge(&mut one, &over);
        json!({"events": [one]})
    };
    let (accept, reject) = (of(accept), of(reject));
    Case {
        kind: "ChangeCalendar",
        accept,
        reject,
        message,
    }
}

fn calendar_cases() -> Vec<Case> {
    let window = json!({"name": "one", "effect": "Window", "start": "2027-01-01"});
    vec![
        Case {
            kind: "ChangeCalendar",
            accept: json!({"events": [window]}),
            reject: json!({"default": "Open", "events": [window]}),
            message: "a Window opens what is closed; say default: Closed",
        },
        event(
            json!({"end": null, "duration": "2h"}),
            json!({"duration": "2h"}),
            "an event has end or duration, not both",
        ),
        event(
            json!({"start": "2027-01-01", "end": null}),
            json!({"end": null}),
            "an event that starts at a time of day has end or duration",
        ),
        event(
            json!({"start": "2027-01-01T10:00Z", "end": "2027-01-01T12:00:00Z"}),
            json!({"start": "2027-01-01"}),
            "start and end are written alike: both are dates, local times or times that end in Z",
        ),
        event(
            json!({"start": "2027-01-01", "end": "2027-01-01"}),
            json!({"end": "2027-01-01T10:00"}),
            "end is not after start",
        ),
        event(
            json!({"end": null, "duration": "8784h"}),
            json!({"end": null, "duration": "8784h1s"}),
            "duration is more than 0s and at most 8784h, which are 366 days",
        ),
        event(
            json!({"rrule": "FREQ=DAILY", "exdates": ["2027-01-02"]}),
            json!({"exdates": ["2027-01-02"]}),
            "exdates are for rrule",
        ),
    ]
}
