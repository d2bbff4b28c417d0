//! Old journals go, and no key is forgotten too early.

use crds::journal::{Line, Swept};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::host::{BEGUN, END, FORGOTTEN, Host};

fn ago(hours: i64) -> Value {
    json!(Timestamp::now() - SignedDuration::from_hours(hours))
}

fn sweep(host: &Host) -> Swept {
    let output = host.command("sweep").output().expect("toolkit");
    serde_json::from_slice(&output.stdout).expect("swept")
}

/// A run that ended so many hours ago.
fn ended(host: &Host, run: &str, hours: i64) {
    host.exec(&host.script(run, "true"));
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
    host.exec(&host.script("lost", "true"));
    host.put("lost", END, &json!(0));
    let wiped = std::fs::File::options()
        .write(true)
        .open(host.journal("lost").join("state"))
        .expect("state");
    std::os::unix::fs::FileExt::write_all_at(&wiped, &[0; 4096], END * 4096).expect("wipe");
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
fn of_too_many_the_oldest_go() {
    let host = Host::new();
    ended(&host, "model", 1);
    let state = std::fs::read(host.journal("model").join("state")).expect("state");
    for n in 0..505 {
        let run = format!("copy-{n}");
        std::fs::create_dir(host.journal(&run)).expect("folder");
        std::fs::write(host.journal(&run).join("state"), &state).expect("state");
        let mut end = host.fact("model", END);
        end["finishedAt"] = ago(2 + n);
        if n < 160 {
            host.put(&run, END, &end);
        }
    }
    host.put("copy-300", FORGOTTEN, &json!({"at": ago(0)}));
    assert_eq!(
        sweep(&host),
        Swept {
            removed: 6,
            kept: 500
        }
    );
    assert!(
        !host.journal("copy-300").exists(),
        "a result that is safe goes first"
    );
    for n in 155..160 {
        assert!(
            !host.journal(&format!("copy-{n}")).exists(),
            "then the oldest"
        );
    }
}

#[test]
fn a_start_sweeps_now_and_then() {
    let host = Host::new();
    ended(&host, "old", 200);
    host.exec(&host.script("soon", "true"));
    assert!(host.journal("old").exists(), "not at every start");
    let mark = std::fs::File::options()
        .write(true)
        .open(host.root().join("journal/swept"))
        .expect("mark");
    mark.set_modified(std::time::SystemTime::now() - std::time::Duration::from_mins(11))
        .expect("time");
    host.exec(&host.script("later", "true"));
    assert!(!host.journal("old").exists());
}
