//! Work on a host, over a toolkit that keeps its promise with a few lines of shell, and without any.

use std::{collections::BTreeMap, path::Path, time::Duration};

use crate::sshd::{self, Rules, Sshd};
use crds::{
    journal::{
        EndReason, Interpreter, KeyRequest, Program, RefusedReason, Request, SECRET_BYTES_TOTAL,
    },
    key::EffectKey,
};
use k8s_openapi::ByteString;
use reach::{
    host::{self, Error, Outcome, Progress, Toolkit, Windows},
    ssh::{Credentials, Fleet, HostKeys, Limits, Target},
};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

const WINDOWS: Windows = Windows {
    delivery: Duration::from_secs(20),
    reattach: Duration::from_secs(20),
    begun: false,
};

/// Starts once a run, tells its output from the beginning again on every attachment, and ends when told to.
const FAKE: &str = r#"#!/bin/sh
root=ROOT
IFS= read -r request
run=$(printf %s "$request" | sed 's/.*"run":"\([^"]*\)".*/\1/')
at='"2026-01-02T03:04:05Z"'
case $1 in
exec)
    if [ -e "$root/dies" ]; then rm "$root/dies"; exit 1; fi
    if [ -e "$root/stale" ]; then echo '{"refused":{"reason":"StaleLeader","message":"a newer leader was here"}}'; exit; fi
    attached=true
    if mkdir "$root/$run" 2>/dev/null; then attached=false; echo effect >>"$root/effects"; fi
    echo '{"started":{"at":'"$at"',"attached":'$attached'}}'
    if [ $attached = false ]; then
        echo '{"output":{"offset":0,"stream":"stdout","data":"aGVsbG8="}}'
    else
        echo '{"output":{"offset":0,"stream":"stdout","data":"aGVsbG8gd29ybGQ="}}'
    fi
    if [ -e "$root/loud" ]; then
        awk 'BEGIN { d = sprintf("%1368s", ""); gsub(/ /, "A", d)
            for (i = 0; i < 2000; i++) printf "{\"output\":{\"offset\":%d,\"stream\":\"stdout\",\"data\":\"%s\"}}\n", 11 + i * 1026, d }'
    fi
    while [ -d "$root" ] && [ ! -e "$root/over" ]; do sleep 0.02; done
    echo '{"end":{"reason":"Exited","exitCode":0,"startedAt":'"$at"',"finishedAt":'"$at"',"outputBytes":11,"droppedBytes":0}}' ;;
cancel)
    begun=
    if [ -d "$root/$run" ]; then begun='"startedAt":'"$at"','; touch "$root/over"; fi
    echo '{"end":{"reason":"Cancelled",'"$begun"'"finishedAt":'"$at"',"outputBytes":0,"droppedBytes":0}}' ;;
forget) echo '{"refused":{"reason":"StaleLeader","message":"a newer leader was here"}}' ;;
esac
"#;

struct Stage {
    server: Sshd,
    target: Target,
    fleet: Fleet,
    folder: TempDir,
}

async fn stage() -> Stage {
    let server = Sshd::start(Rules {
        password: Some("right"),
        ..Rules::default()
    })
    .await;
    let fields = [("password", "right"), ("addresses", "127.0.0.1")];
    let data: BTreeMap<_, _> = fields
        .map(|(k, v)| (k.to_owned(), ByteString(v.as_bytes().to_vec())))
        .into();
    let target = Target {
        name: "host".into(),
        address: server.at.ip().to_string(),
        port: server.at.port(),
        user: "root".into(),
        credentials: Credentials::from_secret(&data).unwrap(),
        host_keys: HostKeys::pinned([server.host_key.as_str()]).unwrap(),
        sudo: false,
        jump: None,
        node: None,
    };
    Stage {
        server,
        target,
        fleet: Fleet::new(Limits::default()),
        folder: tempfile::tempdir().unwrap(),
    }
}

impl Stage {
    fn root(&self) -> &Path {
        self.folder.path()
    }

    async fn run(
        &self,
        toolkit: &Toolkit,
        request: &Request,
        windows: Windows,
        sink: &host::Sink,
        cancel: &CancellationToken,
    ) -> Result<Outcome, Error> {
        host::run(
            &self.fleet,
            toolkit,
            &self.target,
            request,
            windows,
            sink,
            cancel,
        )
        .await
    }

    /// Tells the toolkit of this stage how to behave.
    fn sign(&self, name: &str) {
        std::fs::write(self.root().join(name), "").unwrap();
    }

    fn effects(&self) -> usize {
        std::fs::read_to_string(self.root().join("effects"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    async fn until_commanded(&self, part: &str) {
        while !self.server.commands().iter().any(|c| c.contains(part)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn toolkit(&self) -> Toolkit {
        let root = self.root().to_str().unwrap();
        Toolkit::new(FAKE.replace("ROOT", root)).in_folder(format!("{root}/bin"))
    }
}

fn key() -> EffectKey {
    EffectKey {
        attempt: 1,
        cluster: "c".into(),
        plan: "p".into(),
        run: "run-1".into(),
        step: "s".into(),
        target: "t".into(),
    }
}

fn request(interpreter: Interpreter, content: &str) -> Request {
    Request {
        version: crds::journal::VERSION,
        key: key(),
        epoch: 1,
        program: Program::Script {
            interpreter,
            content: content.into(),
        },
        env: BTreeMap::new(),
        mask: Vec::new(),
        run_as: None,
        workdir: None,
        timeout_seconds: Some(30),
        grace_seconds: 1,
        keep_bytes: 1 << 20,
        resume_from: 0,
    }
}

async fn text(mut progress: mpsc::Receiver<Progress>) -> String {
    let mut bytes = Vec::new();
    while let Some(piece) = progress.recv().await {
        if let Progress::Output(output) = piece {
            bytes.extend(output.data);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn the_toolkit_is_copied_once_and_an_effect_is_found_again_after_a_cut() {
    let stage = stage().await;
    let (sink, mut progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let watching = async {
        let mut heard = Vec::new();
        while let Some(piece) = progress.recv().await {
            let Progress::Output(output) = piece else {
                continue;
            };
            let first = heard.is_empty();
            heard.push((output.offset, String::from_utf8(output.data).unwrap()));
            if first {
                stage.server.cut();
            } else {
                std::fs::write(stage.root().join("over"), "").unwrap();
            }
        }
        heard
    };
    let running = async {
        let outcome = host::run(
            &stage.fleet,
            &toolkit,
            &stage.target,
            &request,
            WINDOWS,
            &sink,
            &CancellationToken::new(),
        )
        .await;
        drop(sink);
        outcome.unwrap()
    };
    let (outcome, heard) = tokio::join!(running, watching);
    assert!(matches!(outcome, Outcome::Ended(end) if end.exit_code == Some(0)));
    assert_eq!(
        heard,
        [(0, "hello".to_owned()), (5, " world".to_owned())],
        "nothing twice, nothing lost"
    );
    assert_eq!(
        std::fs::read_to_string(stage.root().join("effects")).unwrap(),
        "effect\n"
    );
    let copies = stage
        .server
        .commands()
        .iter()
        .filter(|command| command.contains("mkdir -p"))
        .count();
    assert_eq!(copies, 1);
}

#[tokio::test]
async fn a_host_that_is_not_found_again_leaves_the_effect_detached() {
    let stage = stage().await;
    let (sink, mut progress) = mpsc::channel(8);
    let windows = Windows {
        reattach: Duration::from_millis(150),
        ..WINDOWS
    };
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let running = stage.run(&toolkit, &request, windows, &sink, &never);
    let cutting = async {
        while !matches!(progress.recv().await, Some(Progress::Output(_))) {}
        stage.server.shut();
    };
    let (outcome, ()) = tokio::join!(running, cutting);
    assert!(matches!(
        outcome.unwrap(),
        Outcome::Detached { started: true, .. }
    ));
}

#[tokio::test]
async fn a_connection_lost_while_the_toolkit_is_copied_is_tried_again() {
    let stage = stage().await;
    stage.sign("over");
    let (sink, _progress) = mpsc::channel(64);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let running = stage.run(&toolkit, &request, WINDOWS, &sink, &never);
    let cutting = async {
        stage.until_commanded("mkdir -p").await;
        stage.server.cut();
    };
    let (outcome, ()) = tokio::join!(running, cutting);
    assert!(matches!(outcome.unwrap(), Outcome::Ended(_)));
    assert_eq!(stage.effects(), 1);
}

#[tokio::test]
async fn a_host_that_is_away_is_an_error_only_if_nothing_can_have_begun() {
    let stage = stage().await;
    stage.server.shut();
    let (sink, _progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let fresh = Windows {
        delivery: Duration::from_millis(400),
        ..WINDOWS
    };
    let error = stage
        .run(&toolkit, &request, fresh, &sink, &never)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Delivery { .. }) && error.is_passing(),
        "{error}"
    );
    let begun = Windows {
        reattach: Duration::from_millis(400),
        begun: true,
        ..WINDOWS
    };
    let outcome = stage.run(&toolkit, &request, begun, &sink, &never).await;
    assert!(matches!(
        outcome.unwrap(),
        Outcome::Detached { started: false, .. }
    ));
}

#[tokio::test]
async fn a_refusal_of_what_may_have_begun_is_no_proof_that_it_did_not() {
    let stage = stage().await;
    stage.sign("stale");
    let (sink, _progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let fresh = stage.run(&toolkit, &request, WINDOWS, &sink, &never).await;
    assert_eq!(fresh.unwrap_err().reason(), "StaleLeader");
    let begun = Windows {
        begun: true,
        ..WINDOWS
    };
    let outcome = stage.run(&toolkit, &request, begun, &sink, &never).await;
    assert!(
        matches!(outcome.unwrap(), Outcome::Detached { cause, .. } if cause.reason() == "StaleLeader")
    );
}

#[tokio::test]
async fn a_toolkit_that_dies_before_it_answers_is_asked_again() {
    let stage = stage().await;
    stage.sign("dies");
    stage.sign("over");
    let (sink, _progress) = mpsc::channel(64);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let never = CancellationToken::new();
    let outcome = stage.run(&toolkit, &request, WINDOWS, &sink, &never).await;
    assert!(matches!(outcome.unwrap(), Outcome::Ended(_)));
}

#[tokio::test]
async fn work_that_goes_on_longer_than_it_may_is_detached() {
    let stage = stage().await;
    let (sink, _progress) = mpsc::channel(64);
    let (toolkit, mut request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    (request.timeout_seconds, request.grace_seconds) = (Some(1), 0);
    let windows = Windows {
        reattach: Duration::from_secs(2),
        ..WINDOWS
    };
    let never = CancellationToken::new();
    let outcome = stage.run(&toolkit, &request, windows, &sink, &never).await;
    assert!(
        matches!(outcome.unwrap(), Outcome::Detached { cause, .. } if cause.reason() == "Overdue")
    );
}

#[tokio::test]
async fn what_is_cancelled_before_it_is_sent_is_over_at_once() {
    let stage = stage().await;
    stage.server.shut();
    let (sink, _progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let outcome = stage.run(&toolkit, &request, WINDOWS, &sink, &cancel).await;
    assert!(matches!(outcome.unwrap(), Outcome::Cancelled));
}

#[tokio::test]
async fn what_an_earlier_call_may_have_started_is_ended_and_never_started_by_a_cancel() {
    let stage = stage().await;
    let (sink, _progress) = mpsc::channel(8);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let begun = Windows {
        begun: true,
        ..WINDOWS
    };
    let outcome = stage.run(&toolkit, &request, begun, &sink, &cancel).await;
    assert!(matches!(outcome.unwrap(), Outcome::Ended(end) if end.started_at.is_none()));
    assert_eq!(stage.effects(), 0);
}

#[tokio::test]
async fn a_cancel_reaches_the_host_though_nobody_takes_the_output() {
    let stage = stage().await;
    stage.sign("loud");
    let (sink, mut progress) = mpsc::channel(1);
    let (toolkit, request) = (stage.toolkit(), request(Interpreter::Shell, "true"));
    let cancel = CancellationToken::new();
    let running = async {
        let outcome = stage.run(&toolkit, &request, WINDOWS, &sink, &cancel).await;
        drop(sink);
        outcome.unwrap()
    };
    let cancelling = async {
        stage.until_commanded(" exec").await;
        while stage.effects() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
        while !stage.root().join("over").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut next = 0;
        while let Some(piece) = progress.recv().await {
            if let Progress::Output(output) = piece {
                assert!(output.offset >= next, "nothing twice");
                next = output.offset + output.data.len() as u64;
            }
        }
        next
    };
    let (outcome, told) = tokio::join!(running, cancelling);
    assert!(matches!(outcome, Outcome::Ended(end) if end.started_at.is_some()));
    assert_eq!(told, 11 + 2000 * 1026, "all of it");
}

#[tokio::test]
async fn a_damaged_toolkit_is_copied_again_and_an_unsafe_folder_is_refused() {
    let stage = stage().await;
    let toolkit = stage.toolkit();
    let about = KeyRequest {
        version: 1,
        key: key(),
        epoch: 1,
    };
    let cancel = || {
        host::cancel(
            &stage.fleet,
            &toolkit,
            &stage.target,
            &about,
            Duration::from_secs(20),
        )
    };
    assert_eq!(cancel().await.unwrap().reason, EndReason::Cancelled);
    std::fs::write(toolkit.path(), "#!/bin/sh\necho evil\n").unwrap();
    assert_eq!(cancel().await.unwrap().reason, EndReason::Cancelled);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(stage.root().join("bin"), open).unwrap();
    assert_eq!(cancel().await.unwrap_err().reason(), "PathNotSafe");
    std::fs::remove_file(toolkit.path()).unwrap();
    assert_eq!(
        cancel().await.unwrap_err().reason(),
        "PathNotSafe",
        "nothing is copied into it either"
    );
}

#[tokio::test]
async fn a_refusal_keeps_its_reason_and_a_folder_that_cannot_be_written_is_named() {
    let stage = stage().await;
    let about = KeyRequest {
        version: 1,
        key: key(),
        epoch: 1,
    };
    let patience = Duration::from_secs(20);
    let error = host::forget(
        &stage.fleet,
        &stage.toolkit(),
        &stage.target,
        &about,
        patience,
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&error, Error::Refused { refused, .. } if refused.reason == RefusedReason::StaleLeader),
        "{error}"
    );
    let nowhere = stage.toolkit().in_folder("/proc/pilothouse/bin");
    let error = host::forget(&stage.fleet, &nowhere, &stage.target, &about, patience)
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "PathNotWritable");
    assert!(
        error.to_string().contains("/proc/pilothouse/bin"),
        "{error}"
    );
}

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
