//! Started once, whoever asks and however often.

use std::os::unix::fs::symlink;
use std::process::Command;

use crds::journal::{EndReason, Line, RefusedReason};
use serde_json::json;

use crate::host::{BEGUN, HEADER, Host, contains, files, until};

#[test]
fn a_second_start_attaches_and_tells_the_same() {
    let host = Host::new();
    let mut request = host.line("twice");
    request["program"]["script"]["content"] = format!(
        "echo out; echo err >&2; echo line >> {}; exit 3",
        host.effect("twice").display()
    )
    .into();
    let first = host.exec(&request);
    let second = host.exec(&request);
    assert!(!first.started.as_ref().expect("started").attached);
    assert!(second.started.as_ref().expect("started").attached);
    assert_eq!(
        first.started.as_ref().map(|s| s.at),
        second.started.as_ref().map(|s| s.at)
    );
    assert_eq!(first.end(), second.end());
    assert_eq!(
        (first.end().reason, first.end().exit_code),
        (EndReason::Exited, Some(3))
    );
    assert_eq!(first.output, second.output);
    assert_eq!(first.end().output_bytes, 8);
    assert_eq!(host.lines("twice"), 1);
}

#[test]
fn of_many_starts_at_once_one_runs() {
    let host = Host::new();
    let request = host.line("many");
    let calls: Vec<_> = (0..8).map(|_| host.begin(&request)).collect();
    let answers: Vec<_> = calls.into_iter().map(crate::host::Call::rest).collect();
    assert!(
        answers.iter().all(|a| a.started.is_some()),
        "{:?}",
        answers.iter().map(|a| &a.refused).collect::<Vec<_>>()
    );
    assert_eq!(
        answers
            .iter()
            .filter(|a| !a.started.as_ref().expect("started").attached)
            .count(),
        1
    );
    assert!(answers.iter().all(|a| a.end() == answers[0].end()));
    assert_eq!(host.lines("many"), 1);
}

#[test]
fn the_beginning_is_on_disk_before_the_program_runs() {
    let host = Host::new();
    let journal = host.journal("order");
    let script = format!(
        "dd if={0}/state bs=4096 skip=1 count=1 2>/dev/null | tr -d '\\0'; ls {0}",
        journal.display()
    );
    let text = host.exec(&host.script("order", &script)).text();
    assert!(
        text.contains("bootId") && text.contains("request.json"),
        "{text}"
    );
}

#[test]
fn the_journal_holds_no_text_of_scripts_and_no_values() {
    let host = Host::new();
    let mut request = host.script("text", "true # marker-of-the-script");
    request["env"] = json!({"NAMED": "marker-of-the-value"});
    host.exec(&request);
    let files = files(&host.root());
    assert!(files.iter().any(|(_, bytes)| contains(bytes, b"NAMED")));
    for (path, bytes) in files {
        assert!(!contains(&bytes, b"marker-of"), "{}", path.display());
    }
}

#[test]
fn output_is_sent_again_from_an_offset() {
    let host = Host::new();
    let mut request = host.script("resume", "printf 0123456789");
    host.exec(&request);
    request["resumeFrom"] = 6.into();
    let again = host.exec(&request);
    assert_eq!((again.output[0].offset, again.text().as_str()), (6, "6789"));
    request["resumeFrom"] = 10.into();
    assert!(host.exec(&request).output.is_empty());
}

#[test]
fn arguments_reach_a_program_as_they_are() {
    let host = Host::new();
    let mut request = host.script("argv", "");
    request["program"] = json!({"argv": ["printf", "%s|", "a b", "$HOME", ""]});
    assert_eq!(host.exec(&request).text(), "a b|$HOME||");
}

#[test]
fn every_interpreter_reads_its_script() {
    let host = Host::new();
    for (name, text) in [
        ("Shell", "echo sh $0"),
        ("Bash", "[[ a == a ]] && echo ${BASH_VERSION%%.*}"),
        ("Python", "import os; print(os.environ['A'])"),
    ] {
        let mut request = host.script(name, text);
        request["program"]["script"]["interpreter"] = name.into();
        request["env"] = json!({"A": "value"});
        let answer = host.exec(&request);
        assert_eq!(answer.end().exit_code, Some(0), "{name}: {answer:?}");
        assert!(!answer.bytes().is_empty());
    }
}

#[test]
fn a_missing_program_or_folder_is_refused_and_can_be_started_later() {
    let host = Host::new();
    let mut request = host.line("missing");
    request["workdir"] = host.file("later").display().to_string().into();
    let refused = host.exec(&request);
    assert_eq!(refused.refused().reason, RefusedReason::ProgramMissing);
    assert!(!host.journal("missing").exists());
    std::fs::create_dir(host.file("later")).expect("folder");
    assert_eq!(host.exec(&request).end().reason, EndReason::Exited);
    request = host.script("none", "");
    request["program"] = json!({"argv": ["/no/such/program"]});
    assert_eq!(
        host.exec(&request).refused().reason,
        RefusedReason::ProgramMissing
    );
}

#[test]
fn a_program_that_can_not_be_executed_is_told() {
    let host = Host::new();
    std::fs::write(host.file("bad"), "not a program").expect("write");
    Command::new("chmod")
        .arg("+x")
        .arg(host.file("bad"))
        .status()
        .expect("chmod");
    let mut request = host.script("bad", "");
    request["program"] = json!({"argv": [host.file("bad")]});
    let answer = host.exec(&request);
    assert_eq!(answer.end().reason, EndReason::SpawnFailed);
    assert!(
        answer.end().message.contains("execute the program"),
        "{:?}",
        answer.end()
    );
}

#[test]
fn a_leader_of_the_past_is_refused() {
    let host = Host::new();
    let with = |run: &str, epoch: i64, cluster: &str| {
        let mut request = host.line(run);
        request["epoch"] = epoch.into();
        request["key"]["cluster"] = cluster.into();
        host.exec(&request)
    };
    assert!(with("a", 5, "c").end.is_some());
    let stale = with("b", 4, "c");
    assert_eq!(stale.refused().reason, RefusedReason::StaleLeader);
    assert_eq!(host.lines("b"), 0);
    assert!(
        with("d", 1, "another").end.is_some(),
        "clusters do not share epochs"
    );
    assert!(with("e", 7, "c").end.is_some());
    assert!(with("f", 7, "c").end.is_some());
    assert_eq!(
        with("g", 6, "c").refused().reason,
        RefusedReason::StaleLeader
    );
    assert!(
        matches!(host.ask("cancel", "a", 6), Line::Refused(refused) if refused.reason == RefusedReason::StaleLeader)
    );
}

#[test]
fn a_new_leader_need_not_wait_for_the_runs_of_the_old_one() {
    let host = Host::new();
    let call = host.begun(&host.script("long", "sleep 1000"));
    let attached = host.begun(&host.script("long", "sleep 1000"));
    let mut request = host.line("next");
    request["epoch"] = 2.into();
    assert_eq!(host.exec(&request).end().reason, EndReason::Exited);
    drop((call, attached));
}

#[test]
fn unknown_versions_are_refused_by_name() {
    let host = Host::new();
    let mut request = host.line("version");
    request["version"] = 7.into();
    let refused = host.exec(&request);
    assert_eq!(refused.refused().reason, RefusedReason::UnknownVersion);
    assert!(refused.refused().message.contains("version 7"));
    request["version"] = 1.into();
    host.exec(&request);
    host.put("version", HEADER, &json!({"version": 9}));
    let refused = host.exec(&request);
    assert_eq!(refused.refused().reason, RefusedReason::UnknownVersion);
    assert!(refused.refused().message.contains("version 9"));
    assert_eq!(host.lines("version"), 1);
}

#[test]
fn nothing_is_opened_through_a_link() {
    let host = Host::new();
    std::fs::create_dir_all(host.file("real")).expect("folder");
    symlink(host.file("real"), host.root()).expect("link");
    assert_eq!(
        host.exec(&host.line("root")).refused().reason,
        RefusedReason::UnsafeRoot
    );
    std::fs::remove_file(host.root()).expect("remove");
    host.exec(&host.line("inside"));
    let state = host.journal("inside").join("state");
    std::fs::rename(&state, host.file("moved")).expect("move");
    symlink(host.file("moved"), &state).expect("link");
    assert_eq!(
        host.exec(&host.line("inside")).refused().reason,
        RefusedReason::JournalReadFailed
    );
    assert_eq!(host.lines("inside"), 1);
}

#[test]
fn a_folder_that_others_can_change_is_refused() {
    let host = Host::new();
    host.exec(&host.line("first"));
    std::fs::create_dir(host.journal("other")).expect("folder");
    for (mode, folder) in [
        ("0707", host.journal("other")),
        ("0770", host.root()),
        ("0707", host.root()),
        ("0750", host.root().join("journal")),
    ] {
        Command::new("chmod")
            .arg(mode)
            .arg(&folder)
            .status()
            .expect("chmod");
        assert_eq!(
            host.exec(&host.line("other")).refused().reason,
            RefusedReason::UnsafeRoot,
            "{mode}"
        );
        Command::new("chmod")
            .arg("0700")
            .arg(&folder)
            .status()
            .expect("chmod");
    }
    if crate::host::is_root() {
        Command::new("chown")
            .arg("nobody")
            .arg(host.root())
            .status()
            .expect("chown");
        assert_eq!(
            host.exec(&host.line("other")).refused().reason,
            RefusedReason::UnsafeRoot
        );
    }
    assert_eq!(host.lines("other"), 0);
}

#[test]
fn a_start_that_was_cut_off_before_it_began_begins() {
    let host = Host::new();
    host.exec(&host.line("cut"));
    // As after a crash between the request and the beginning.
    let state = std::fs::File::options()
        .write(true)
        .open(host.journal("cut").join("state"))
        .expect("state");
    std::os::unix::fs::FileExt::write_all_at(&state, &[0; 4 * 4096], BEGUN * 4096).expect("wipe");
    assert_eq!(host.exec(&host.line("cut")).end().reason, EndReason::Exited);
    assert_eq!(host.lines("cut"), 2);
}

#[test]
fn the_call_ends_when_nobody_listens_and_the_run_goes_on() {
    let host = Host::new();
    let go = host.file("go");
    let script = format!(
        "while ! test -e {}; do sleep 0.02; done; echo line >> {}",
        go.display(),
        host.effect("deaf").display()
    );
    let mut child = host.begun(&host.script("deaf", &script)).silence();
    child.wait().expect("the call ends");
    std::fs::write(&go, "").expect("go");
    until("the run goes on", || host.lines("deaf") == 1);
    assert_eq!(
        host.exec(&host.script("deaf", &script)).end().exit_code,
        Some(0)
    );
}

#[test]
fn facts_and_version_are_json() {
    let out = |verb: &str| {
        Command::new(crate::host::TOOLKIT)
            .arg(verb)
            .output()
            .expect("toolkit")
            .stdout
    };
    let facts: crds::journal::Facts = serde_json::from_slice(&out("facts")).expect("facts");
    assert!(
        !facts.boot_id.is_empty()
            && !facts.kernel.is_empty()
            && facts.cpus > 0
            && facts.memory_bytes > 0,
        "{facts:?}"
    );
    let version: crds::journal::ToolkitVersion =
        serde_json::from_slice(&out("version")).expect("version");
    assert_eq!(version.journal, 1);
    assert_eq!(
        Command::new(crate::host::TOOLKIT)
            .arg("dance")
            .status()
            .expect("toolkit")
            .code(),
        Some(2)
    );
}

#[test]
fn a_run_that_waits_costs_nothing() {
    let host = Host::new();
    let calls = [
        host.begun(&host.script("idle", "sleep 1000")),
        host.begun(&host.script("idle", "sleep 1000")),
    ];
    let ticks = || -> u64 {
        let stat = |pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let spent = |stat: String| {
            stat.rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .skip(11)
                .take(2)
                .filter_map(|t| t.parse::<u64>().ok())
                .sum::<u64>()
        };
        host.toolkits().into_iter().map(stat).map(spent).sum()
    };
    let before = ticks();
    // A stretch of time is what is measured.
    std::thread::sleep(std::time::Duration::from_millis(600));
    let spent = ticks() - before;
    assert!(
        spent <= 3,
        "three toolkits that wait spent {spent} ticks of 10 ms"
    );
    drop(calls);
}
