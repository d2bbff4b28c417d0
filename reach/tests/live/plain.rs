//! Work on a host where nothing is copied, and what a host says of itself.

use std::time::Duration;

use crds::journal::{EndReason, Interpreter, Program, SECRET_BYTES_TOTAL};
use reach::{
    host,
    host::{Outcome, Progress},
    ssh::HostKeys,
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    fake::{WINDOWS, request, stage, text},
    sshd,
    sshd::{Rules, Sshd},
};

#[tokio::test]
async fn plain_work_gets_its_environment_masks_its_secrets_and_copies_nothing() {
    let scripts = [
        (Interpreter::Shell, "echo \"got $TOKEN\"; cat; exit 3"),
        (
            Interpreter::Bash,
            "[[ -n $TOKEN ]] && echo \"got $TOKEN\"; exit 3",
        ),
        (
            Interpreter::Python,
            "from __future__ import annotations\nimport os,sys\nprint('got', os.environ['TOKEN'])\nsys.exit(3)",
        ),
    ];
    for (interpreter, content) in scripts {
        let stage = stage().await;
        let (sink, progress) = mpsc::channel(64);
        let mut request = request(interpreter, content);
        request.env.insert("TOKEN".into(), "it's s3cret".into());
        request.mask.push("it's s3cret".into());
        let outcome = host::run_plainly(
            &stage.fleet,
            &stage.target,
            &request,
            WINDOWS.delivery,
            &sink,
        )
        .await
        .unwrap();
        drop(sink);
        let Outcome::Ended(end) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((end.reason, end.exit_code), (EndReason::Exited, Some(3)));
        let text = text(progress).await;
        assert!(
            text.starts_with("got ") && !text.contains("s3cret"),
            "{text}"
        );
        let commands = stage.server.commands();
        assert!(
            commands.len() == 1 && !commands[0].contains("s3cret") && !commands[0].contains("got"),
            "{commands:?}"
        );
    }
}

#[tokio::test]
async fn plain_work_times_out_is_bounded_and_unknown_when_cut_off() {
    let stage = stage().await;
    let (sink, _progress) = mpsc::channel(1024);
    let mut slow = request(Interpreter::Shell, "sleep 60");
    slow.timeout_seconds = Some(1);
    let outcome = host::run_plainly(&stage.fleet, &stage.target, &slow, WINDOWS.delivery, &sink)
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Ended(end) if end.reason == EndReason::TimedOut));

    let mut deaf = request(Interpreter::Shell, "trap '' TERM; sleep 60");
    deaf.timeout_seconds = Some(1);
    let outcome = host::run_plainly(&stage.fleet, &stage.target, &deaf, WINDOWS.delivery, &sink)
        .await
        .unwrap();
    assert!(
        matches!(&outcome, Outcome::Ended(end) if end.reason == EndReason::TimedOut),
        "{outcome:?}"
    );

    let own = request(Interpreter::Shell, "exit 124");
    let outcome = host::run_plainly(&stage.fleet, &stage.target, &own, WINDOWS.delivery, &sink)
        .await
        .unwrap();
    assert!(
        matches!(outcome, Outcome::Ended(end) if (end.reason, end.exit_code) == (EndReason::Exited, Some(124)))
    );

    let mut loud = request(Interpreter::Shell, "head -c 100000 /dev/zero");
    loud.keep_bytes = 1000;
    let outcome = host::run_plainly(&stage.fleet, &stage.target, &loud, WINDOWS.delivery, &sink)
        .await
        .unwrap();
    assert!(
        matches!(outcome, Outcome::Ended(end) if (end.output_bytes, end.dropped_bytes) == (100_000, 99_000))
    );

    let (sink, mut progress) = mpsc::channel(8);
    let endless = request(Interpreter::Shell, "echo begun; sleep 60");
    let running = host::run_plainly(
        &stage.fleet,
        &stage.target,
        &endless,
        WINDOWS.delivery,
        &sink,
    );
    let cutting = async {
        while !matches!(progress.recv().await, Some(Progress::Output(_))) {}
        stage.server.cut();
    };
    let (outcome, ()) = tokio::join!(running, cutting);
    assert!(matches!(outcome.unwrap(), Outcome::Unknown { .. }));
    assert_eq!(stage.server.commands().len(), 5, "never repeated");
}

#[tokio::test]
async fn plain_work_waits_for_a_host_that_is_away_for_a_moment() {
    let mut stage = stage().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = free.local_addr().unwrap();
    drop(free);
    stage.target.port = at.port();
    let host_key = sshd::key();
    let shown = host_key.public_key().to_openssh().unwrap();
    stage.target.host_keys = HostKeys::pinned([shown.as_str()]).unwrap();
    let (sink, _progress) = mpsc::channel(8);
    let request = request(Interpreter::Shell, "true");
    let running = host::run_plainly(
        &stage.fleet,
        &stage.target,
        &request,
        WINDOWS.delivery,
        &sink,
    );
    let booting = async {
        // The instant is the point of the test: the first attempt meets a closed port.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Sshd::start_on(
            at,
            Rules {
                host_key,
                password: Some("right"),
                ..Rules::default()
            },
        )
        .await
    };
    let (outcome, _server) = tokio::join!(running, booting);
    assert!(matches!(outcome.unwrap(), Outcome::Ended(end) if end.exit_code == Some(0)));
}

#[tokio::test]
async fn plain_work_refuses_what_would_become_shell_or_show_a_secret() {
    let stage = stage().await;
    let (sink, _progress) = mpsc::channel(8);
    let mut sneaky = request(Interpreter::Shell, "true");
    sneaky.env.insert("A=1; reboot #".into(), String::new());
    let mut telling = request(Interpreter::Shell, "true");
    telling.program = Program::Argv(vec!["echo".into(), "--token=s3cret".into()]);
    telling.mask.push("s3cret".into());
    let mut endless = request(Interpreter::Shell, "true");
    endless.mask.push("x".repeat(SECRET_BYTES_TOTAL + 1));
    for (request, reason) in [
        (sneaky, "BadRequest"),
        (telling, "SecretInArguments"),
        (endless, "BadRequest"),
    ] {
        let error = host::run_plainly(
            &stage.fleet,
            &stage.target,
            &request,
            WINDOWS.delivery,
            &sink,
        )
        .await
        .unwrap_err();
        assert_eq!(error.reason(), reason);
    }
    assert!(stage.server.commands().is_empty());
}

#[tokio::test]
async fn facts_are_read_with_nothing_copied() {
    let stage = stage().await;
    let seen = host::facts(
        &stage.fleet,
        &stage.target,
        Instant::now() + Duration::from_secs(20),
    )
    .await
    .unwrap();
    assert!(
        seen.facts.cpus > 0 && seen.facts.memory_mib > 0,
        "{:?}",
        seen.facts
    );
    assert!(
        !seen.facts.kernel.is_empty() && !seen.facts.boot_id.is_empty() && !seen.host_key.first_use
    );
    assert_eq!(stage.server.commands().len(), 1);
}
