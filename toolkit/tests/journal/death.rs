//! Killed at any instant, an effect stands at most once, and a run whose supervisor died is lost, never repeated.

use std::time::Duration;

use crds::journal::EndReason;
use serde_json::json;

use crate::host::{BEGUN, Call, Host, kill, until};

/// Ends supervisors, which are all toolkits of a host but the call.
fn kill_supervisor(host: &Host, call: u32) {
    for pid in host
        .toolkits()
        .into_iter()
        .filter(|&pid| pid.unsigned_abs() != call)
    {
        kill(pid, "KILL");
    }
}

fn long(host: &Host, run: &str) -> serde_json::Value {
    host.script(
        run,
        &format!(
            "echo line >> {}; echo out; sleep 1000",
            host.effect(run).display()
        ),
    )
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Call,
    Supervisor,
    Both,
}

/// Kills after a while, asks twice more, and says how it ended.
fn kill_after(victim: Victim, wait: Duration) -> EndReason {
    let host = Host::new();
    let script = format!(
        "echo line >> {0}; sleep 0.03; echo last >> {0}",
        host.effect("kill").display()
    );
    let request = host.script("kill", &script);
    let Call { mut child, .. } = { host.begin(&request) };
    // The instant is the point of the test, not something to wait for.
    std::thread::sleep(wait);
    if matches!(victim, Victim::Supervisor | Victim::Both) {
        kill_supervisor(&host, child.id());
    }
    if matches!(victim, Victim::Call | Victim::Both) {
        child.kill().expect("kill");
    }
    child.wait().expect("wait");
    let second = host.exec(&request);
    let reason = second.end().reason;
    let effect = std::fs::read_to_string(host.effect("kill")).unwrap_or_default();
    match reason {
        EndReason::Exited => assert_eq!(effect, "line\nlast\n", "{victim:?} after {wait:?}"),
        EndReason::Lost => assert!(
            "line\nlast\n".starts_with(&effect),
            "{victim:?} after {wait:?}: {effect:?}"
        ),
        other => panic!("{victim:?} after {wait:?}: {other:?}"),
    }
    assert_eq!(host.exec(&request).end(), second.end(), "the end stands");
    assert_eq!(
        std::fs::read_to_string(host.effect("kill")).unwrap_or_default(),
        effect,
        "nothing ran after the end"
    );
    assert!(host.processes("kill").is_empty());
    reason
}

#[test]
fn killed_at_any_instant_the_effect_stands_once() {
    let instants = || (0..10).map(|n| Duration::from_micros(700 + n * 7_100));
    let run = |victim| {
        move || {
            instants()
                .map(|wait| kill_after(victim, wait))
                .collect::<Vec<_>>()
        }
    };
    let threads = [Victim::Call, Victim::Supervisor, Victim::Both]
        .map(|victim| std::thread::spawn(run(victim)));
    let [call, ..] = threads.map(|thread| thread.join().expect("no failure"));
    // The call alone is nobody's life: without it the run goes on, or the second call starts it.
    assert!(
        call.iter().all(|reason| *reason == EndReason::Exited),
        "{call:?}"
    );
}

#[test]
fn without_its_supervisor_a_run_is_lost_and_ended() {
    let host = Host::new();
    let request = long(&host, "lost");
    let mut call = host.begun(&request);
    let Some(crds::journal::Line::Output(_)) = call.line() else {
        panic!("the output so far")
    };
    assert_eq!(host.lines("lost"), 1);
    // The first call finds it by itself.
    kill_supervisor(&host, call.child.id());
    let answer = call.rest();
    assert!(
        answer.started.is_none() && answer.output.is_empty(),
        "nothing is told twice: {answer:?}"
    );
    assert_eq!(answer.end().reason, EndReason::Lost);
    assert!(
        answer.end().message.contains("supervisor died"),
        "{:?}",
        answer.end()
    );
    assert!(host.processes("lost").is_empty(), "nothing of it is left");
    let again = host.exec(&request);
    assert_eq!(again.end(), answer.end());
    assert_eq!(
        (again.text().as_str(), again.end().output_bytes),
        ("out\n", 4)
    );
    assert_eq!(host.lines("lost"), 1);
}

#[test]
fn what_a_lost_run_left_in_other_sessions_is_ended() {
    let host = Host::new();
    let script = format!(
        "setsid sleep 1000 & (setsid sleep 1000 &); echo line >> {}; sleep 1000",
        host.effect("left").display()
    );
    let mut call = host.begun(&host.script("left", &script));
    until("the effect", || {
        host.lines("left") == 1 && host.processes("left").len() >= 4
    });
    call.child.kill().expect("kill");
    kill_supervisor(&host, call.child.id());
    call.child.wait().expect("wait");
    assert_eq!(
        host.exec(&host.script("left", &script)).end().reason,
        EndReason::Lost
    );
    assert!(host.processes("left").is_empty());
}

#[test]
fn after_a_reboot_a_run_is_lost() {
    let host = Host::new();
    let request = long(&host, "reboot");
    let mut call = host.begun(&request);
    until("the effect", || host.lines("reboot") == 1);
    call.child.kill().expect("kill");
    kill_supervisor(&host, call.child.id());
    call.child.wait().expect("wait");
    let begun = host.fact("reboot", BEGUN);
    host.put(
        "reboot",
        BEGUN,
        &json!({"at": begun["at"], "bootId": "another"}),
    );
    let answer = host.exec(&request);
    assert_eq!(answer.end().reason, EndReason::Lost);
    assert!(
        answer.end().message.contains("rebooted"),
        "{:?}",
        answer.end()
    );
    assert_eq!(host.lines("reboot"), 1);
}

#[test]
fn a_supervisor_that_is_asked_to_stop_ends_its_run_first() {
    let host = Host::new();
    let call = host.begun(&long(&host, "stop"));
    until("the effect", || host.lines("stop") == 1);
    for pid in host
        .toolkits()
        .into_iter()
        .filter(|&pid| pid.unsigned_abs() != call.child.id())
    {
        kill(pid, "TERM");
    }
    let answer = call.rest();
    assert_eq!(answer.end().reason, EndReason::Lost);
    assert!(
        answer
            .end()
            .message
            .contains("asked the supervisor to stop"),
        "{:?}",
        answer.end()
    );
    assert!(host.processes("stop").is_empty());
}
