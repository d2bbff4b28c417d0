//! Connections to the database. While none can be made, attempts are spaced out and whoever asks in between is told at once.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Statement};

use super::settings::{Settings, Way};
use crate::Error;

/// Time between attempts: the first pause, which doubles up to the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// Statements that a connection keeps prepared.
const PREPARED: usize = 64;

/// What holds for every connection. An acknowledgement means durable whatever the database's default is. A peer that is gone lets go of the turn.
/// Every statement goes along an index; what statistics of tables that have just begun say, plans must not rely on.
const BEGIN: &str = "
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
    SET idle_in_transaction_session_timeout = '15s';
    SET lock_timeout = '20s';
    SET statement_timeout = '25s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 2;
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;";

/// Makes connections.
pub struct Connector {
    settings: Settings,
    pause: Mutex<Option<Pause>>,
}

/// No attempt is made before it is over.
#[derive(Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Connector {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            pause: Mutex::new(None),
        }
    }

    pub async fn connect(&self) -> Result<Session, Error> {
        if self
            .pause()
            .is_some_and(|pause| Instant::now() < pause.until)
        {
            let why = "the last attempt failed, the next one is made soon";
            return Err(Error::unavailable("connect to PostgreSQL", why));
        }
        let made = self.attempt().await;
        let length = match (self.pause(), &made) {
            (_, Ok(_)) => None,
            (None, Err(_)) => Some(FIRST),
            (Some(before), Err(_)) => Some((before.length * 2).min(LONGEST)),
        };
        *self.lock() = length.map(|length| Pause {
            until: Instant::now() + length,
            length,
        });
        made
    }

    async fn attempt(&self) -> Result<Session, Error> {
        let way = self.settings.read().await;
        let way = way.map_err(|e| Error::unavailable("read where PostgreSQL is", e))?;
        let session = Session::open(way).await;
        session.map_err(|e| Error::unavailable("connect to PostgreSQL", e))
    }

    fn pause(&self) -> Option<Pause> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pause>> {
        self.pause
            .lock()
            .expect("nothing panics while it holds the pause")
    }
}

/// One connection, closed when dropped.
pub struct Session {
    pub client: Client,
    pub statements: Statements,
    /// Told of every notification, and of the end of the connection.
    pub heard: Arc<Notify>,
    driver: JoinHandle<()>,
}

impl Session {
    async fn open(way: Way) -> Result<Self, tokio_postgres::Error> {
        let heard = Arc::new(Notify::new());
        let (client, driver) = match way.tls {
            None => {
                let (client, connection) = way.config.connect(NoTls).await?;
                (client, tokio::spawn(drive(connection, Arc::clone(&heard))))
            }
            Some(tls) => {
                let (client, connection) = way.config.connect(tls).await?;
                (client, tokio::spawn(drive(connection, Arc::clone(&heard))))
            }
        };
        let session = Self {
            client,
            statements: Statements::default(),
            heard,
            driver,
        };
        session.client.batch_execute(BEGIN).await?;
        Ok(session)
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn drive<S, T>(mut connection: Connection<S, T>, heard: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // What ends the connection is told to those who wait for answers.
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            heard.notify_one();
        }
    }
    heard.notify_one();
}

/// Statements that the database has prepared for this connection.
#[derive(Default)]
pub struct Statements(HashMap<String, Statement>);

impl Statements {
    pub async fn get(
        &mut self,
        client: &Client,
        sql: &str,
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(known) = self.0.get(sql) {
            return Ok(known.clone());
        }
        if self.0.len() == PREPARED {
            self.0.clear();
        }
        let statement = client.prepare(sql).await?;
        self.0.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}
