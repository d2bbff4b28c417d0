//! Whatever way a run ends, nothing of it is left, and it ends in bounded time.

use std::time::{Duration, Instant};

use crds::journal::{EndReason, Line, RefusedReason};

use crate::host::{Host, until};

#[test]
fn a_timeout_ends_descendants_in_other_sessions_too() {
    let host = Host::new();
    let mut request = host.script(
        "slow",
        "setsid sleep 1000 & (setsid sh -c 'sleep 1000; true' &); echo begun; sleep 1000",
    );
    request["timeoutSeconds"] = 1.into();
    let answer = host.exec(&request);
    assert_eq!(
        (answer.end().reason, answer.end().signal),
        (EndReason::TimedOut, Some(15))
    );
    assert_eq!(answer.text(), "begun\n");
    assert!(host.processes("slow").is_empty());
}

#[test]
fn who_ignores_term_is_killed_after_the_grace() {
    let host = Host::new();
    let mut request = host.script(
        "deaf",
        "trap '' TERM; echo begun; while :; do sleep 0.1; done",
    );
    request["timeoutSeconds"] = 1.into();
    request["graceSeconds"] = 0.into();
    let answer = host.exec(&request);
    assert_eq!(
        (answer.end().reason, answer.end().signal),
        (EndReason::TimedOut, Some(9))
    );
    assert!(host.processes("deaf").is_empty());
}

#[test]
fn who_hears_term_may_say_a_last_word() {
    let host = Host::new();
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut call = host.begun(&host.script("polite", script));
    let Some(Line::Output(_)) = call.line() else {
        panic!("ready")
    };
    let end = host.cancel("polite");
    assert_eq!((end.reason, end.exit_code), (EndReason::Cancelled, Some(7)));
    let answer = call.rest();
    assert_eq!(answer.end(), &end);
    assert!(answer.text().contains("bye\n"), "{}", answer.text());
}

#[test]
fn a_run_ends_with_its_main_process() {
    let host = Host::new();
    let begin = Instant::now();
    let answer = host.exec(&host.script("quiet", "sleep 1000 >/dev/null 2>&1 & echo done"));
    assert_eq!(
        (answer.end().exit_code, answer.text().as_str()),
        (Some(0), "done\n")
    );
    assert_eq!(answer.end().message, "1 background process was ended");
    assert!(host.processes("quiet").is_empty(), "what it left is ended");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_is_about_to_end_by_itself_was_not_left_in_the_background() {
    let host = Host::new();
    let answer = host.exec(&host.script("short", "sleep 0.01 >/dev/null 2>&1 & echo done"));
    assert_eq!(answer.end().message, "");
}

#[test]
fn who_holds_the_output_in_the_background_hangs_nobody() {
    let host = Host::new();
    let answer = host.exec(&host.script(
        "holder",
        "(trap '' TERM; sleep 0.3; echo late; sleep 1000) & echo done",
    ));
    assert_eq!(
        (answer.end().reason, answer.end().exit_code),
        (EndReason::Exited, Some(0))
    );
    assert_eq!(
        answer.text(),
        "done\nlate\n",
        "for a moment its output still counts"
    );
    assert!(host.processes("holder").is_empty());
}

#[test]
fn a_signal_that_the_toolkit_did_not_send_is_told() {
    let host = Host::new();
    let answer = host.exec(&host.script("signal", "kill -USR1 $$"));
    assert_eq!(
        (answer.end().reason, answer.end().signal),
        (EndReason::Signaled, Some(10))
    );
}

#[test]
fn a_cancel_ends_the_run() {
    let host = Host::new();
    let call = host.begun(&host.script("cancel", "sleep 1000"));
    let end = host.cancel("cancel");
    assert_eq!((end.reason, end.signal), (EndReason::Cancelled, Some(15)));
    assert_eq!(call.rest().end(), &end);
    assert_eq!(host.cancel("cancel"), end, "a second cancel tells the same");
    assert!(host.processes("cancel").is_empty());
}

#[test]
fn what_was_cancelled_before_it_began_never_begins() {
    let host = Host::new();
    let end = host.cancel("early");
    assert_eq!((end.reason, end.started_at), (EndReason::Cancelled, None));
    assert_eq!(
        host.exec(&host.line("early")).refused().reason,
        RefusedReason::Cancelled
    );
    assert_eq!(host.cancel("early"), end);
    assert_eq!(host.lines("early"), 0);
}

#[test]
fn a_cancel_of_what_is_over_changes_nothing() {
    let host = Host::new();
    let answer = host.exec(&host.line("over"));
    assert_eq!(&host.cancel("over"), answer.end());
}

#[test]
fn a_cancel_and_a_start_at_once_agree() {
    for round in 0..6 {
        let host = Host::new();
        let request = host.script(
            "race",
            &format!("echo line >> {}; sleep 1000", host.effect("race").display()),
        );
        let call = host.begin(&request);
        let end = host.cancel("race");
        let answer = call.rest();
        assert_eq!(end.reason, EndReason::Cancelled, "round {round}");
        match end.started_at {
            Some(_) => assert_eq!(answer.end(), &end),
            None => assert_eq!(answer.refused().reason, RefusedReason::Cancelled),
        }
        until("nothing is left", || host.processes("race").is_empty());
    }
}

#[test]
fn without_a_control_group_descendants_are_found_all_the_same() {
    if !crate::host::is_root() {
        // Then every other test tries it.
        return;
    }
    let host = Host::new();
    let toolkit = host.file("toolkit");
    std::fs::copy(crate::host::TOOLKIT, &toolkit).expect("copy");
    std::fs::create_dir(host.file("own")).expect("folder");
    std::process::Command::new("chown")
        .arg("nobody")
        .arg(host.file("own"))
        .status()
        .expect("chown");
    let mut request = host.script(
        "plain",
        "setsid sleep 1000 & (setsid sh -c 'sleep 1000; true' &); echo begun; sleep 1000",
    );
    request["timeoutSeconds"] = 1.into();
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid", "nobody", "--clear-groups", "--"])
        .arg(&toolkit)
        .args(["exec", "--root"])
        .arg(host.file("own/root"));
    let answer = crate::host::call(command, &request).rest();
    assert_eq!(
        (answer.end().reason, answer.end().signal),
        (EndReason::TimedOut, Some(15))
    );
    assert!(host.processes("plain").is_empty());
}
