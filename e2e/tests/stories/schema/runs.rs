//! Runs, what people do to them, and what starts them.

use serde_json::{Value, json};

use super::{Case, least};

pub fn cases() -> Vec<Case> {
    [
        run_cases(),
        action_cases(),
        approval_cases(),
        schedule_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn run_cases() -> Vec<Case> {
    let kind = "JobRun";
    let ad_hoc = json!({"jobRef": null, "job": least("Job")});
    let mut signed = ad_hoc.clone();
    signed["job"]["requestedBy"] = json!({"user": "somebody"});
    let revision = format!("sha256:{}", "0".repeat(64));
    let mut pinned = ad_hoc.clone();
    pinned["jobRevision"] = json!(revision);
    vec![
        Case {
            kind,
            accept: ad_hoc.clone(),
            reject: json!({"job": least("Job")}),
            message: "give either jobRef or job",
        },
        Case {
            kind,
            accept: json!({"jobRevision": revision}),
            reject: pinned,
            message: "jobRevision is of the Job in jobRef",
        },
        Case {
            kind,
            accept: ad_hoc,
            reject: signed,
            message: "a job written in a run has no requestedBy of its own",
        },
        Case {
            kind,
            accept: json!({"parameters": {"a": "1"}, "secretParameters": {"b": {"name": "s", "key": "k"}}}),
            reject: json!({"parameters": {"a": "1"}, "parameterRefs": {"a": {"name": "p"}}}),
            message: "a parameter is given in one of parameters, secretParameters and parameterRefs",
        },
    ]
}

fn action_cases() -> Vec<Case> {
    let kind = "RunAction";
    vec![
        Case {
            kind,
            accept: json!({"action": "Skip", "step": "a"}),
            reject: json!({"action": "ResumeFrom"}),
            message: "step is for Skip and ResumeFrom, and they need it",
        },
        Case {
            kind,
            accept: json!({"action": "SetMaxParallel", "maxParallel": 2}),
            reject: json!({"maxParallel": 2}),
            message: "maxParallel is for SetMaxParallel, which needs it",
        },
    ]
}

fn approval_cases() -> Vec<Case> {
    let kind = "Approval";
    vec![
        Case {
            kind,
            accept: json!({"decision": "Reject", "reason": "not today"}),
            reject: json!({"decision": "Reject"}),
            message: "whoever rejects says why; give reason",
        },
        Case {
            kind,
            accept: json!({"subject": {"kind": "JobRun", "step": "sign-off"}}),
            reject: json!({"subject": {"step": "sign-off"}}),
            message: "step is of a JobRun",
        },
    ]
}

fn schedule_cases() -> Vec<Case> {
    let kind = "ScheduledTask";
    let schedule = |of: Value| json!({"schedule": of});
    vec![
        Case {
            kind,
            accept: schedule(json!({"cron": null, "at": "2027-01-01T00:00:00Z"})),
            reject: schedule(json!({"at": "2027-01-01T00:00:00Z"})),
            message: "a schedule has exactly one of at, cron and every",
        },
        Case {
            kind,
            accept: schedule(json!({"timeZone": "Asia/Shanghai"})),
            reject: schedule(json!({"timeZone": null})),
            message: "cron needs timeZone, such as Asia/Shanghai or UTC",
        },
        Case {
            kind,
            accept: schedule(json!({"cron": null, "every": "6h", "from": "2027-01-01T00:00:00Z"})),
            reject: schedule(json!({"from": "2027-01-01T00:00:00Z"})),
            message: "from is for every",
        },
        Case {
            kind,
            accept: schedule(json!({"cron": null, "every": "1s"})),
            reject: schedule(json!({"cron": null, "every": "999ms"})),
            message: "every is at least 1s",
        },
        Case {
            kind,
            accept: json!({"calendars": {"exclude": [{"from": "2027-01-01"}]}}),
            reject: json!({"schedule": {"cron": null, "timeZone": null, "every": "6h"}, "calendars": {}}),
            message: "calendars are dates of a zone; give schedule.timeZone",
        },
        Case {
            kind,
            accept: json!({"calendars": {"include": [{"from": "2027-01-01", "to": "2027-01-01"}]}}),
            reject: json!({"calendars": {"include": [{"from": "2027-01-02", "to": "2027-01-01"}]}}),
            message: "to is before from",
        },
        Case {
            kind,
            accept: json!({"misfire": {"deadline": "24h"}}),
            reject: json!({"misfire": {"deadline": "24h1s"}}),
            message: "deadline is at most 24h",
        },
        Case {
            kind,
            accept: json!({"parameters": {"a": "1"}, "secretParameters": {"b": {"name": "s", "key": "k"}}}),
            reject: json!({"parameters": {"a": "1"}, "parameterRefs": {"a": {"name": "p"}}}),
            message: "a parameter is given in one of parameters, secretParameters and parameterRefs",
        },
    ]
}
