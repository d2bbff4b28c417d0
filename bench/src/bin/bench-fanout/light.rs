//! The light server: takes every login with the right key, answers as a host with a toolkit does, and any other command with the same 200 bytes and exit 0. It stands in for any number of hosts.

use std::{
    collections::HashMap,
    net::IpAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use russh::{
    Channel, ChannelId, MethodKind, MethodSet,
    keys::{PublicKey, decode_secret_key},
    server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey},
};
use tokio::net::TcpListener;

use crate::{
    Result,
    fixture::Fixture,
    journal::{Journal, Verb},
    process::{Server, free_port},
};

const ANSWER: [u8; 200] = [b'.'; 200];

/// Starts this very program again as the server, so that its work is not counted as the client's.
pub async fn start(fixture: &Fixture) -> Result<Server> {
    start_at(fixture, free_port()?).await
}

/// Starts it where one before may have been.
pub async fn start_at(fixture: &Fixture, port: u16) -> Result<Server> {
    fixture.write("port", &port.to_string())?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("serve")
        .arg(fixture.path(""))
        .stdin(Stdio::piped());
    Server::start(command, port).await
}

/// Serves until it is ended, or the bench is gone, which closes our input.
pub async fn serve(folder: &str) -> Result<()> {
    let (mut input, mut nowhere) = (tokio::io::stdin(), tokio::io::sink());
    tokio::select! {
        failed = accept(folder) => failed,
        _ = tokio::io::copy(&mut input, &mut nowhere) => Ok(()),
    }
}

async fn accept(folder: &str) -> Result<()> {
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}"));
    let config = Arc::new(server::Config {
        keys: vec![decode_secret_key(&read("host_key")?, None)?],
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::ZERO,
        nodelay: true,
        channel_buffer_size: 4,
        ..server::Config::default()
    });
    let user = PublicKey::from_openssh(read("authorized_keys")?.trim())?;
    let listener = TcpListener::bind(("0.0.0.0", read("port")?.trim().parse()?)).await?;
    let journal = Journal::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let login = Login {
            user: user.clone(),
            host: stream.local_addr()?.ip(),
            journal: journal.clone(),
            asked: HashMap::new(),
        };
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            if let Ok(session) = server::run_stream(config, stream, login).await {
                // A client that goes away is none of the server's business.
                let _ = session.await;
            }
        });
    }
}

struct Login {
    user: PublicKey,
    host: IpAddr,
    journal: Journal,
    /// Requests that are still being told.
    asked: HashMap<ChannelId, (Verb, Vec<u8>)>,
}

/// The whole of an answer, and exit 0.
fn reply(
    session: &mut Session,
    id: ChannelId,
    answer: Vec<u8>,
) -> std::result::Result<(), russh::Error> {
    session.data(id, answer)?;
    session.exit_status_request(id, 0)?;
    session.eof(id)?;
    session.close(id)
}

impl Login {
    fn answer(
        &self,
        session: &mut Session,
        id: ChannelId,
        verb: Verb,
        asked: &[u8],
    ) -> std::result::Result<(), russh::Error> {
        match self.journal.answer(verb, self.host, asked) {
            Ok(answer) => reply(session, id, answer),
            // What no toolkit could read is told as it would be: with an exit code and no answer.
            Err(_) => session.close(id),
        }
    }
}

impl server::Handler for Login {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        key: VerifiedPublicKey<'_>,
    ) -> std::result::Result<Auth, Self::Error> {
        let known = key.public_key.key_data() == self.user.key_data();
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> std::result::Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> std::result::Result<(), Self::Error> {
        session.channel_success(id)?;
        match Verb::of(command) {
            None => reply(session, id, ANSWER.to_vec()),
            Some(verb @ (Verb::Exec | Verb::Forget)) => {
                self.asked.insert(id, (verb, Vec::new()));
                Ok(())
            }
            Some(Verb::Facts) => self.answer(session, id, Verb::Facts, &[]),
        }
    }

    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> std::result::Result<(), Self::Error> {
        let Some((verb, asked)) = self.asked.get_mut(&id) else {
            return Ok(());
        };
        asked.extend_from_slice(data);
        if !asked.ends_with(b"\n") {
            return Ok(());
        }
        let (verb, asked) = (*verb, std::mem::take(asked));
        self.asked.remove(&id);
        self.answer(session, id, verb, &asked)
    }
}
