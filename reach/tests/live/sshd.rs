//! An SSH server inside the test: obeys its rules, runs what it is told in a real shell, and can be cut off at any moment.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use russh::{
    Channel, ChannelId, ChannelMsg, ChannelOpenFailure, MethodKind, MethodSet, Preferred,
    keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey},
    server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::watch,
};

/// What the server is, accepts and does.
pub struct Rules {
    pub host_key: PrivateKey,
    pub host_certificate: Option<Certificate>,
    pub user_key: Option<PublicKey>,
    pub user_authority: Option<PublicKey>,
    pub password: Option<&'static str>,
    pub max_sessions: usize,
    /// What happens to the next connections; the rest are served.
    pub mishaps: VecDeque<Mishap>,
}

/// What can happen to a connection before the handshake.
#[derive(Clone, Copy)]
pub enum Mishap {
    Dropped,
    Ignored,
}

pub fn key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).expect("key")
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            host_key: key(),
            host_certificate: None,
            user_key: None,
            user_authority: None,
            password: None,
            max_sessions: 10,
            mishaps: VecDeque::new(),
        }
    }
}

/// What has been seen so far.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub passwords: AtomicUsize,
    pub commands: Mutex<Vec<String>>,
    open_sessions: AtomicUsize,
    pub most_sessions: AtomicUsize,
}

/// A running server; dropping it ends it and its connections.
pub struct Sshd {
    pub at: SocketAddr,
    pub host_key: String,
    pub seen: Arc<Seen>,
    cut: watch::Sender<u64>,
    shut: watch::Sender<bool>,
}

impl Sshd {
    pub async fn start(rules: Rules) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), rules).await
    }

    pub async fn start_on(at: SocketAddr, rules: Rules) -> Self {
        let listener = TcpListener::bind(at).await.expect("listen");
        let at = listener.local_addr().expect("address");
        let host_key = rules.host_key.public_key().to_openssh().expect("key");
        let (cut, cuts) = watch::channel(0);
        let seen = Arc::new(Seen::default());
        let (shut, shuts) = watch::channel(false);
        tokio::spawn(serve(listener, rules, Arc::clone(&seen), cuts, shuts));
        Self {
            at,
            host_key,
            seen,
            cut,
            shut,
        }
    }

    /// Breaks every connection there is.
    pub fn cut(&self) {
        self.cut.send_modify(|round| *round += 1);
    }

    /// Breaks every connection and answers none from now on.
    pub fn shut(&self) {
        self.shut.send_replace(true);
        self.cut();
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    pub fn commands(&self) -> Vec<String> {
        self.seen.commands.lock().expect("lock").clone()
    }
}

fn config(rules: &Rules) -> Arc<server::Config> {
    let mut methods = MethodSet::empty();
    if rules.user_key.is_some() || rules.user_authority.is_some() {
        methods.push(MethodKind::PublicKey);
    }
    if rules.password.is_some() {
        methods.push(MethodKind::Password);
        methods.push(MethodKind::KeyboardInteractive);
    }
    Arc::new(server::Config {
        methods,
        auth_rejection_time: Duration::ZERO,
        keys: vec![rules.host_key.clone()],
        certificates: rules.host_certificate.iter().cloned().collect(),
        preferred: Preferred::DEFAULT,
        ..server::Config::default()
    })
}

async fn serve(
    listener: TcpListener,
    mut rules: Rules,
    seen: Arc<Seen>,
    cuts: watch::Receiver<u64>,
    mut shuts: watch::Receiver<bool>,
) {
    let config = config(&rules);
    let mut mishaps = std::mem::take(&mut rules.mishaps);
    let rules = Arc::new(rules);
    let mut ignored = Vec::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.expect("accept").0,
            _ = shuts.wait_for(|shut| *shut) => return,
        };
        seen.connections.fetch_add(1, SeqCst);
        match mishaps.pop_front() {
            Some(Mishap::Dropped) => drop(stream),
            Some(Mishap::Ignored) => ignored.push(stream),
            None => {
                let login = Login {
                    rules: Arc::clone(&rules),
                    seen: Arc::clone(&seen),
                    channels: HashMap::new(),
                    sessions: 0,
                };
                tokio::spawn(relay(stream, config.clone(), login, cuts.clone()));
            }
        }
    }
}

/// Stands between the socket and the server, so that a cut is as abrupt as a pulled cable.
async fn relay(
    mut stream: TcpStream,
    config: Arc<server::Config>,
    login: Login,
    mut cuts: watch::Receiver<u64>,
) {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        if let Ok(session) = server::run_stream(config, theirs, login).await {
            let _ = session.await;
        }
    });
    cuts.mark_unchanged();
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut ours) => {}
        _ = cuts.changed() => {}
    }
}

struct Login {
    rules: Arc<Rules>,
    seen: Arc<Seen>,
    channels: HashMap<ChannelId, Channel<Msg>>,
    sessions: usize,
}

impl Drop for Login {
    fn drop(&mut self) {
        self.seen.open_sessions.fetch_sub(self.sessions, SeqCst);
    }
}

impl Login {
    fn password(&self, password: &str) -> Auth {
        self.seen.passwords.fetch_add(1, SeqCst);
        verdict(self.rules.password == Some(password))
    }
}

fn verdict(accepted: bool) -> Auth {
    if accepted {
        Auth::Accept
    } else {
        Auth::reject()
    }
}

impl server::Handler for Login {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(self.password(password))
    }

    async fn auth_publickey(
        &mut self,
        _: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let known = self
            .rules
            .user_key
            .as_ref()
            .is_some_and(|known| known.key_data() == key.public_key.key_data());
        Ok(verdict(known))
    }

    async fn auth_openssh_certificate(
        &mut self,
        _: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        let fingerprints: Vec<_> = self
            .rules
            .user_authority
            .iter()
            .map(|ca| ca.fingerprint(HashAlg::Sha256))
            .collect();
        Ok(verdict(certificate.validate(&fingerprints).is_ok()))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.sessions >= self.rules.max_sessions {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.sessions += 1;
        let open = self.seen.open_sessions.fetch_add(1, SeqCst) + 1;
        self.seen.most_sessions.fetch_max(open, SeqCst);
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, _: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.sessions = self.sessions.saturating_sub(1);
        self.seen.open_sessions.fetch_sub(1, SeqCst);
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let port = u16::try_from(port).expect("port");
        let Ok(mut stream) = TcpStream::connect((host, port)).await else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        reply.accept().await;
        tokio::spawn(
            async move { copy_bidirectional(&mut channel.into_stream(), &mut stream).await },
        );
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let command = String::from_utf8_lossy(command).into_owned();
        self.seen
            .commands
            .lock()
            .expect("lock")
            .push(command.clone());
        let channel = self.channels.remove(&id).expect("channel");
        session.channel_success(id)?;
        tokio::spawn(shell(command, channel));
        Ok(())
    }
}

/// Runs the command as sshd does: a shell, three streams, an exit status.
async fn shell(command: String, channel: Channel<Msg>) {
    let mut child = Command::new("sh")
        .args(["-c", &command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh");
    let (mut stdout, mut stderr) = (
        child.stdout.take().expect("stdout"),
        child.stderr.take().expect("stderr"),
    );
    let mut stdin = child.stdin.take();
    let (mut input, output) = channel.split();
    let mut feeding = tokio::spawn(async move {
        while let Some(message) = input.wait().await {
            match (message, &mut stdin) {
                (ChannelMsg::Data { data }, Some(pipe)) => {
                    let taken = pipe.write_all(&data).await;
                    stdin = stdin.filter(|_| taken.is_ok());
                }
                (ChannelMsg::Eof, _) => stdin = None,
                (ChannelMsg::Close, _) => return,
                _ => {}
            }
        }
    });
    // Written through the channel, which waits for the client's window: what the server itself holds back for one channel holds up all others, and for ever once the client has closed that one.
    let out = async {
        let mut piece = vec![0; 1 << 14];
        while let Ok(n @ 1..) = stdout.read(&mut piece).await {
            if output.data_bytes(piece[..n].to_vec()).await.is_err() {
                break;
            }
        }
    };
    let err = async {
        let mut piece = vec![0; 1 << 14];
        while let Ok(n @ 1..) = stderr.read(&mut piece).await {
            let piece = piece[..n].to_vec();
            if output.extended_data_bytes(1, piece).await.is_err() {
                break;
            }
        }
    };
    let written = async { tokio::join!(out, err) };
    tokio::select! {
        _ = written => {}
        _ = &mut feeding => {}
    }
    drop((stdout, stderr));
    let status = child.wait().await.expect("wait");
    let code = u32::try_from(status.code().unwrap_or(255)).expect("code");
    let _ = output.exit_status(code).await;
    let _ = output.eof().await;
    let _ = output.close().await;
    feeding.abort();
}
