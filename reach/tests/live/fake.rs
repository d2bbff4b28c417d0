//! A host with a toolkit that keeps its promise with a few lines of shell.

use std::{collections::BTreeMap, path::Path, time::Duration};

use crds::{
    journal::{Interpreter, Program, Request},
    key::EffectKey,
};
use k8s_openapi::ByteString;
use reach::{
    host,
    host::{Error, Outcome, Progress, Toolkit, Windows},
    ssh::{Credentials, Fleet, HostKeys, Limits, Target},
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::sshd::{Rules, Sshd};

pub const WINDOWS: Windows = Windows {
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

pub struct Stage {
    pub server: Sshd,
    pub target: Target,
    pub fleet: Fleet,
    pub folder: TempDir,
}

pub async fn stage() -> Stage {
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
        team: "team".into(),
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
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub async fn run(
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
    pub fn sign(&self, name: &str) {
        std::fs::write(self.root().join(name), "").unwrap();
    }

    pub fn effects(&self) -> usize {
        std::fs::read_to_string(self.root().join("effects"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    pub async fn until_commanded(&self, part: &str) {
        while !self.server.commands().iter().any(|c| c.contains(part)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn toolkit(&self) -> Toolkit {
        let root = self.root().to_str().unwrap();
        Toolkit::new(FAKE.replace("ROOT", root)).in_folder(format!("{root}/bin"))
    }
}

pub fn key() -> EffectKey {
    EffectKey {
        attempt: 1,
        cluster: "c".into(),
        plan: "p".into(),
        run: "run-1".into(),
        step: "s".into(),
        target: "t".into(),
    }
}

pub fn request(interpreter: Interpreter, content: &str) -> Request {
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

pub async fn text(mut progress: mpsc::Receiver<Progress>) -> String {
    let mut bytes = Vec::new();
    while let Some(piece) = progress.recv().await {
        if let Progress::Output(output) = piece {
            bytes.extend(output.data);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
