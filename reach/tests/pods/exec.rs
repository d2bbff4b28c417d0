//! Commands in containers, against an API server that answers one connection after another.

use std::time::Duration;

use crds::execution::State;
use futures::{SinkExt as _, StreamExt as _};
use kube::{Client, Config};
use reach::pod::{Command, Outcome, Recorder, exec};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::spawn,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};
use tokio_util::sync::CancellationToken;

/// What the server does once a command is asked for.
#[derive(Clone)]
enum Script {
    /// Sends the frames, then closes without a word about the command's end unless a frame had it.
    Frames(Vec<Vec<u8>>),
    /// Sends the frames, then nothing more.
    Silence(Vec<Vec<u8>>),
    /// Refuses with this code and message.
    Refusal(u16, &'static str),
}

struct Ran {
    outcome: Outcome,
    text: String,
    /// How often the command was asked for.
    asked: usize,
}

fn frame(channel: u8, bytes: &[u8]) -> Vec<u8> {
    [&[channel], bytes].concat()
}

fn status(status: &Value) -> Vec<u8> {
    frame(3, status.to_string().as_bytes())
}

fn exit_code(code: i32) -> Vec<u8> {
    status(
        &json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {
        "causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
    )
}

async fn serve(listener: TcpListener, script: Script, asked: mpsc::UnboundedSender<()>) {
    loop {
        let (stream, _) = listener.accept().await.expect("connection");
        spawn(answer(stream, script.clone(), asked.clone()));
    }
}

async fn answer(mut stream: TcpStream, script: Script, asked: mpsc::UnboundedSender<()>) {
    let mut head = [0; 256];
    let count = stream.peek(&mut head).await.expect("request");
    let head = String::from_utf8_lossy(&head[..count]).into_owned();
    if !head.contains("/exec?") {
        return reply(stream, 200, &pods().to_string()).await;
    }
    asked.send(()).expect("the test listens");
    let frames = match &script {
        Script::Refusal(code, message) => {
            let body =
                json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
            return reply(stream, *code, &body.to_string()).await;
        }
        Script::Frames(frames) | Script::Silence(frames) => frames.clone(),
    };
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let protocol = |_: &Request, mut response: Response| {
        let name = "v5.channel.k8s.io".parse().expect("value");
        response
            .headers_mut()
            .insert("sec-websocket-protocol", name);
        Ok(response)
    };
    let mut socket = accept_hdr_async(&mut stream, protocol)
        .await
        .expect("upgrade");
    for frame in frames {
        socket.send(Message::binary(frame)).await.expect("frame");
    }
    if matches!(script, Script::Silence(_)) {
        while socket.next().await.is_some_and(|message| message.is_ok()) {}
    }
}

async fn reply(mut stream: TcpStream, code: u16, body: &str) {
    let mut request = vec![0; 16 << 10];
    let _ = stream.read(&mut request).await.expect("request");
    let length = body.len();
    let head =
        format!("HTTP/1.1 {code} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .expect("answer");
}

fn pods() -> Value {
    let pod = json!({
        "metadata": {"name": "web", "uid": "u1"}, "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "app", "state": {"running": {}},
            "image": "", "imageID": "", "ready": true, "restartCount": 0}]},
    });
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [pod]})
}

fn command() -> Command {
    Command {
        namespace: "shop".into(),
        pod: "web".into(),
        uid: "u1".into(),
        container: None,
        argv: vec!["sh".into(), "-c".into(), "true".into()],
        delivery: Duration::from_secs(10),
        execution: Duration::from_secs(10),
    }
}

async fn run(command: Command, script: Script, token: CancellationToken) -> Ran {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let uri = format!("http://{}", listener.local_addr().expect("address"));
    let client = Client::try_from(Config::new(uri.parse().expect("uri"))).expect("client");
    let (asked, mut asks) = mpsc::unbounded_channel();
    let server = spawn(serve(listener, script, asked));
    let (sink, mut pieces) = mpsc::channel(64);
    let mask = [SecretString::from("hunter22")];
    let recorder = Recorder::new(&mask, 1 << 20, 0, sink).expect("recorder");
    let outcome = exec(&client, &command, recorder, &token).await;
    let mut text = Vec::new();
    while let Some(piece) = pieces.recv().await {
        text.extend(piece.data);
    }
    server.abort();
    let mut asked = 0;
    while asks.try_recv().is_ok() {
        asked += 1;
    }
    Ran {
        outcome,
        text: String::from_utf8(text).expect("text"),
        asked,
    }
}

async fn ran(script: Script) -> Ran {
    run(command(), script, CancellationToken::new()).await
}

#[tokio::test]
async fn a_command_is_recorded_and_its_exit_code_is_read() {
    let output = [frame(1, b"key: hun"), frame(1, b"ter22\n")];
    for (end, state, code) in [
        (status(&json!({"status": "Success"})), State::Succeeded, 0),
        (exit_code(42), State::Failed, 42),
    ] {
        let Ran { outcome, text, .. } = ran(Script::Frames([&output[..], &[end]].concat())).await;
        assert_eq!((outcome.state, outcome.exit_code), (state, Some(code)));
        assert_eq!(text, "key: ***\n");
        assert_eq!(outcome.volume.output_bytes, 9);
        assert!(outcome.started_at.is_some());
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_unknown_and_never_repeated() {
    let Ran {
        outcome,
        text,
        asked,
    } = ran(Script::Frames(vec![frame(1, b"half")])).await;
    assert_eq!(
        (outcome.state, outcome.reason.as_ref()),
        (State::Unknown, "StreamCut")
    );
    assert!(
        outcome.message.contains("the pod runs on"),
        "{}",
        outcome.message
    );
    assert_eq!((text.as_str(), asked), ("half", 1));
}

#[tokio::test]
async fn a_container_without_a_shell_says_so() {
    let said = r#"failed to start exec "1": OCI runtime exec failed: exec failed: unable to start container process: exec: "sh": executable file not found in $PATH"#;
    let end = status(&json!({"status": "Failure", "reason": "InternalError", "message": said}));
    let Ran { outcome, .. } = ran(Script::Frames(vec![end])).await;
    assert_eq!(
        (outcome.state, outcome.reason.as_ref()),
        (State::Undeliverable, "CommandNotFound")
    );
    assert!(
        outcome.message.starts_with("the container has no `sh`"),
        "{}",
        outcome.message
    );
    assert_eq!(outcome.started_at, None);
}

#[tokio::test]
async fn a_refusal_starts_nothing_and_an_unclear_answer_is_unknown() {
    for (code, state, reason) in [
        (403, State::Undeliverable, "Forbidden"),
        (404, State::Undeliverable, "PodGone"),
        (500, State::Undeliverable, "Refused"),
        (504, State::Unknown, "UpgradeUnanswered"),
        (502, State::Unknown, "UpgradeUnanswered"),
    ] {
        let Ran { outcome, asked, .. } = ran(Script::Refusal(code, "no hunter22")).await;
        assert_eq!(
            (outcome.state, outcome.reason.as_ref()),
            (state, reason),
            "{code}"
        );
        assert!(outcome.message.ends_with("no ***"), "{}", outcome.message);
        assert_eq!(
            asked, 1,
            "{code} is asked once, whatever the client's own retries are"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_in_time() {
    let command = Command {
        delivery: Duration::from_millis(900),
        ..command()
    };
    let script = Script::Refusal(429, "slow down");
    let Ran { outcome, asked, .. } = run(command, script, CancellationToken::new()).await;
    assert_eq!(outcome.state, State::DeliveryTimedOut);
    assert!(asked > 1, "asked {asked} times");
}

#[tokio::test]
async fn time_and_cancellation_close_the_stream_and_say_what_may_go_on() {
    let command = Command {
        execution: Duration::from_millis(300),
        ..command()
    };
    let script = Script::Silence(vec![frame(2, b"still here")]);
    let Ran { outcome, text, .. } = run(command, script.clone(), CancellationToken::new()).await;
    assert_eq!(
        (outcome.state, text.as_str()),
        (State::TimedOut, "still here")
    );
    assert!(
        outcome.message.contains("may still run"),
        "{}",
        outcome.message
    );
    let token = CancellationToken::new();
    token.cancel();
    let Ran { outcome, asked, .. } = run(self::command(), script, token).await;
    assert_eq!((outcome.state, asked), (State::Cancelled, 0));
}

#[tokio::test]
async fn another_pod_of_the_name_gets_no_command() {
    let command = Command {
        uid: "u0".into(),
        ..command()
    };
    let Ran { outcome, asked, .. } = run(
        command,
        Script::Frames(Vec::new()),
        CancellationToken::new(),
    )
    .await;
    assert_eq!(
        (outcome.state, outcome.reason.as_ref()),
        (State::Undeliverable, "PodReplaced")
    );
    assert_eq!(asked, 0);
}
