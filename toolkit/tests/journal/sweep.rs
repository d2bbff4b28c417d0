//! Old journals go, and no key is forgotten too early.

use crds::journal::{EndReason, Line, Swept};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::host::{BEGUN, END, FORGOTTEN, Host, until};

fn ago(hours: i64) -> Value {
    json!(Timestamp::now() - SignedDuration::from_hours(hours))
}

fn sweep(host: &Host) -> Swept {
    let output = host.command("sweep").output().expect("toolkit");
    serde_json::from_slice(&output.stdout).expect("swept")
}

/// A supervisor tells the end before it lets go of the journal.
fn let_go(host: &Host) {
    until("the supervisor's end", || host.toolkits().is_empty());
}

/// A run that ended so many hours ago.
fn ended(host: &Host, run: &str, hours: i64) {
    host.exec(&host.script(run, "true"));
    let_go(host);
    let mut end = host.fact(run, END);
    end["finishedAt"] = ago(hours);
    host.put(run, END, &end);
}

#[test]
fn what_is_old_or_forgotten_goes() {
    let host = Host::new();
    for (run, hours) in [("old", 169), ("young", 167), ("forgotten", 3), ("just", 3)] {
        ended(&host, run, hours);
    }
    assert_eq!(
        host.ask("forget", "forgotten", 1),
        Line::Forgotten(crds::journal::Forgotten { known: true })
    );
    assert_eq!(
        host.ask("forget", "just", 1),
        Line::Forgotten(crds::journal::Forgotten { known: true })
    );
    host.put("forgotten", FORGOTTEN, &json!({"at": ago(2)}));
    lost(&host, "lost", 0);
    let call = host.begun(&host.script("running", "sleep 1000"));
    let begun = host.fact("running", BEGUN);
    host.put(
        "running",
        BEGUN,
        &json!({"at": ago(1000), "bootId": begun["bootId"]}),
    );
    assert_eq!(
        sweep(&host),
        Swept {
            removed: 2,
            kept: 4
        }
    );
    assert!(!host.journal("old").exists() && !host.journal("forgotten").exists());
    for kept in ["young", "just", "lost", "running"] {
        assert!(host.journal(kept).exists(), "{kept}");
    }
    assert_eq!(
        host.ask("forget", "old", 1),
        Line::Forgotten(crds::journal::Forgotten { known: false })
    );
    drop(call);
}

#[test]
fn of_too_many_the_oldest_safe_ones_go_and_no_other() {
    let host = Host::new();
    ended(&host, "model", 1);
    let state = std::fs::read(host.journal("model").join("state")).expect("state");
    for n in 0..505 {
        let run = format!("copy-{n}");
        std::fs::create_dir(host.journal(&run)).expect("folder");
        std::fs::write(host.journal(&run).join("state"), &state).expect("state");
    }
    let mut end = host.fact("model", END);
    for (run, hours) in [("copy-1", 9), ("copy-2", 7), ("copy-3", 8)] {
        end["finishedAt"] = ago(hours);
        host.put(run, END, &end);
        host.put(run, FORGOTTEN, &json!({"at": ago(0)}));
    }
    assert_eq!(
        sweep(&host),
        Swept {
            removed: 3,
            kept: 503
        },
        "what nobody has acknowledged stays"
    );
    for run in ["copy-10", "copy-11"] {
        host.put(run, FORGOTTEN, &json!({"at": ago(0)}));
    }
    end["finishedAt"] = ago(20);
    host.put("copy-11", END, &end);
    std::fs::remove_dir_all(host.journal("copy-20")).expect("remove");
    std::fs::remove_dir_all(host.journal("copy-21")).expect("remove");
    assert_eq!(
        sweep(&host),
        Swept {
            removed: 1,
            kept: 500
        }
    );
    assert!(!host.journal("copy-11").exists() && host.journal("copy-10").exists());
}

/// Lets the next start sweep.
fn due(host: &Host) {
    let mark = std::fs::File::options()
        .write(true)
        .open(host.root().join("journal/swept"))
        .expect("mark");
    mark.set_modified(std::time::SystemTime::now() - std::time::Duration::from_mins(11))
        .expect("time");
}

/// Leaves a run without its end, as if its supervisor had died so many hours ago.
fn lost(host: &Host, run: &str, hours: i64) {
    host.exec(&host.line(run));
    let_go(host);
    let begun = host.fact(run, BEGUN);
    host.put(
        run,
        BEGUN,
        &json!({"at": ago(hours), "bootId": begun["bootId"]}),
    );
    let state = std::fs::File::options()
        .write(true)
        .open(host.journal(run).join("state"))
        .expect("state");
    std::os::unix::fs::FileExt::write_all_at(&state, &[0; 4096], END * 4096).expect("wipe");
}

#[test]
fn a_key_that_is_asked_for_is_never_swept_from_under_the_question() {
    let host = Host::new();
    host.exec(&host.line("old"));
    let mut end = host.fact("old", END);
    end["finishedAt"] = ago(200);
    host.put("old", END, &end);
    due(&host);
    let again = host.exec(&host.line("old"));
    assert!(again.started.as_ref().is_some_and(|s| s.attached));
    assert_eq!(host.lines("old"), 1, "it did not run again");
}

#[test]
fn what_was_lost_long_ago_is_judged_and_kept_and_never_runs_again() {
    let host = Host::new();
    lost(&host, "lost", 200);
    assert_eq!(
        sweep(&host),
        Swept {
            removed: 0,
            kept: 1
        }
    );
    assert_eq!(host.fact("lost", END)["reason"], "Lost");
    sweep(&host);
    let late = host.exec(&host.line("lost"));
    assert_eq!(late.end().reason, EndReason::Lost);
    assert_eq!(host.lines("lost"), 1);
}

#[test]
fn a_start_sweeps_now_and_then() {
    let host = Host::new();
    ended(&host, "old", 200);
    host.exec(&host.script("soon", "true"));
    assert!(host.journal("old").exists(), "not at every start");
    due(&host);
    host.exec(&host.script("later", "true"));
    assert!(!host.journal("old").exists());
}
