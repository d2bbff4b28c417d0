//! The fleet: every SSH connection of this process, pooled and bounded. The way in to this module.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{
    Error, Exchange, SeenKey, Target,
    connect::connect,
    exchange::Open,
    limiter::Limiter,
    pool::{self, Bounds, Lease, Pool, Tidy},
};
use crate::{Fence, off_limits::Avoided};

/// How much is done at once and how long things are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A team's simultaneous handshakes before anything is known of its servers.
    pub handshakes_at_start: usize,
    /// A team's simultaneous handshakes at most.
    pub max_handshakes: usize,
    /// Channels on one connection; sshd takes 10 unless told otherwise.
    pub channels_per_connection: usize,
    /// Connections kept open though nobody uses them.
    pub max_idle: usize,
    /// How long such a connection is kept.
    pub idle_timeout: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long one handshake and login may take.
    pub handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes_at_start: 32,
            max_handshakes: 512,
            channels_per_connection: 8,
            max_idle: 256,
            idle_timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(20),
        }
    }
}

/// Every SSH connection of this process. Clones share it.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    limits: Limits,
    fence: Fence,
    avoided: Avoided,
    /// One a team: a team's machines that never answer use up no other team's places.
    limiters: Mutex<HashMap<String, Limiter>>,
    pool: Arc<Pool>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl Fleet {
    /// A fleet of somebody who acts alone.
    pub fn new(limits: Limits) -> Self {
        Self::fenced(limits, Fence::open())
    }

    /// A fleet that sends a command only while the fence is open.
    pub fn fenced(limits: Limits, fence: Fence) -> Self {
        let bounds = Bounds {
            channels: limits.channels_per_connection.max(1),
            max_idle: limits.max_idle,
            idle_timeout: limits.idle_timeout,
        };
        Self(Arc::new(Inner {
            limits,
            fence,
            avoided: Avoided::default(),
            limiters: Mutex::default(),
            pool: Pool::new(bounds),
        }))
    }

    /// Addresses to which no connection is opened.
    pub fn avoided(&self) -> &Avoided {
        &self.0.avoided
    }

    /// Whether a connection may be opened to an address in the name of this target.
    pub(super) fn judge(&self, target: &Target, ip: IpAddr) -> Result<(), Error> {
        match self.0.avoided.judge(ip, target.node.as_deref()) {
            None => Ok(()),
            Some(whose) => Err(Error::AddressOffLimits {
                address: target.address.clone(),
                ip,
                whose,
            }),
        }
    }

    /// A session on the target, over an open connection where there is one. Whatever happens before the deadline is delivery: no command has been sent.
    pub async fn session(&self, target: &Target, deadline: Instant) -> Result<Session, Error> {
        let began = Instant::now();
        loop {
            let lease = self.lease(target, deadline).await?;
            let patience = deadline.min(Instant::now() + self.0.limits.handshake_timeout);
            match timeout_at(patience, lease.open_session()).await {
                Ok(Ok(channel)) => {
                    let (open, fence) = (Open::new(channel, lease), self.0.fence.clone());
                    return Ok(Session { open, fence });
                }
                Ok(Err(russh::Error::ChannelOpenFailure(_))) if lease.lower() => {}
                Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                    let reason = reason.description().to_owned();
                    return Err(Error::ChannelRefused {
                        address: target.endpoint(),
                        reason,
                    });
                }
                Ok(Err(_)) if lease.is_reused() => lease.retire(),
                Ok(Err(_)) => {
                    lease.retire();
                    return Err(Error::ConnectionLost {
                        address: target.endpoint(),
                    });
                }
                Err(_) => lease.retire(),
            }
            if Instant::now() >= deadline {
                let (address, waited) = (target.endpoint(), began.elapsed());
                return Err(Error::DeliveryTimedOut {
                    address,
                    waited,
                    step: "opening a session",
                    last: None,
                });
            }
        }
    }

    /// A place on a connection to the target, opened if need be.
    pub(super) async fn lease(&self, target: &Target, deadline: Instant) -> Result<Lease, Error> {
        let (pool, key) = (&self.0.pool, pool::key(target));
        if let Some(lease) = pool.lease(key) {
            return Ok(lease);
        }
        let began = Instant::now();
        let _tidy = Tidy(pool, key);
        let gate = pool.gate(key);
        let Ok(_turn) = timeout_at(deadline, gate.lock()).await else {
            let (address, waited) = (target.endpoint(), began.elapsed());
            return Err(Error::DeliveryTimedOut {
                address,
                waited,
                step: "waiting for a connection",
                last: None,
            });
        };
        if let Some(lease) = pool.lease(key) {
            return Ok(lease);
        }
        let connection = connect(self, target, deadline).await?;
        Ok(pool.add(key, connection))
    }

    /// How many handshakes of a team may be under way at once just now.
    pub fn handshake_limit(&self, team: &str) -> usize {
        self.limiter(team).limit()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.0.pool.size()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What bounds a team's handshakes. Of teams without any for a while nothing is kept.
    pub(super) fn limiter(&self, team: &str) -> Limiter {
        let limits = &self.0.limits;
        let all = self.0.limiters.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        if let Some(limiter) = all.get(team) {
            return limiter.clone();
        }
        all.retain(|_, limiter| !limiter.is_forgotten());
        let new = Limiter::new(limits.handshakes_at_start, limits.max_handshakes);
        all.entry(team.to_owned()).or_insert(new).clone()
    }
}

/// An open session: the host key is proven, the login done. It takes one command, as SSH sessions do.
pub struct Session {
    open: Open,
    fence: Fence,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session")
            .field(&self.open.lease().endpoint())
            .finish()
    }
}

impl Session {
    /// The key that the host showed; on first use the caller pins it.
    pub fn host_key(&self) -> &SeenKey {
        self.open.lease().seen()
    }

    /// Sends the command and its standard input once the fence is open, and waits for no answer. From here on the command may have run.
    pub async fn exec(self, command: &str, stdin: impl Into<Bytes>) -> Result<Exchange, Error> {
        self.fence.passed().await;
        Exchange::start(self.open, command, stdin.into()).await
    }
}
