//! A run has the rights of the user that it names, and no others.

use std::process::Command;

use crds::journal::{EndReason, RefusedReason};

use crate::host::{Host, is_root};

#[test]
fn a_run_is_the_named_user() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let script = "id -u; id -g; id -G; echo $HOME $USER $LOGNAME; cat /etc/shadow; kill -0 1; umask; grep -c . /proc/self/status";
    let mut request = host.script("nobody", script);
    request["runAs"] = "nobody".into();
    let answer = host.exec(&request);
    let text = answer.text();
    let id = |flag: &str| {
        String::from_utf8(
            Command::new("id")
                .args([flag, "nobody"])
                .output()
                .expect("id")
                .stdout,
        )
        .expect("utf-8")
    };
    assert!(
        text.contains(&format!("{}{}{}", id("-u"), id("-g"), id("-G"))),
        "{text}"
    );
    assert!(text.contains("nobody nobody\n"), "{text}");
    assert!(
        text.contains("ermission denied") && !text.contains("root:"),
        "{text}"
    );
}

#[test]
fn the_user_can_not_reach_the_journal() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let mut request = host.script(
        "peek",
        &format!(
            "cd / && ls {0} {0}/journal; ls /proc/self/fd | wc -l; exit 5",
            host.root().display()
        ),
    );
    request["runAs"] = "nobody".into();
    let answer = host.exec(&request);
    assert_eq!(answer.end().exit_code, Some(5));
    assert!(!answer.text().contains("epochs"), "{}", answer.text());
}

#[test]
fn no_descriptor_of_the_toolkit_is_inherited() {
    let host = Host::new();
    let mut request = host.script("open", "");
    request["program"] = serde_json::json!({"argv": ["ls", "/proc/self/fd"]});
    // 3 is the folder that ls itself reads.
    assert_eq!(host.exec(&request).text(), "0\n1\n2\n3\n");
}

#[test]
fn an_unknown_user_is_refused_and_leaves_nothing() {
    let host = Host::new();
    let mut request = host.line("user");
    request["runAs"] = "no-such-user-here".into();
    let refused = host.exec(&request);
    assert_eq!(refused.refused().reason, RefusedReason::UnknownUser);
    assert!(refused.refused().message.contains("no-such-user-here"));
    assert!(!host.journal("user").exists());
    assert_eq!(
        host.exec(&host.line("user")).end().reason,
        EndReason::Exited
    );
}

#[test]
fn the_environment_is_the_requests_and_a_known_rest() {
    let host = Host::new();
    let mut request = host.script("env", "");
    request["program"] = serde_json::json!({"argv": ["env"]});
    request["env"] = serde_json::json!({"NAMED": "value", "LANG": "C"});
    let mut command = host.command("exec");
    command.env("LEAKED", "from outside");
    let text = crate::host::call(command, &request).rest().text();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    assert_eq!(
        names,
        [
            "HOME",
            "LANG",
            "LOGNAME",
            "NAMED",
            "PATH",
            "PILOTHOUSE_EFFECT",
            "SHELL",
            "USER"
        ]
    );
    assert!(text.contains("NAMED=value") && text.contains("LANG=C\n"));
}
