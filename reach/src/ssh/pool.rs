//! Open connections, shared by everything that goes to the same place in the same way. A connection nobody uses is closed after a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use russh::client::{self, Msg};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{SeenKey, Target, guard::Guard};

/// What two targets must have in common to share a connection.
pub(super) type Key = [u8; 32];

/// Everything about a target that decides where a connection goes, as whom, and what it has proven.
pub(super) fn key(target: &Target) -> Key {
    let mut hash = Sha256::new();
    let mut next = Some(target);
    while let Some(hop) = next {
        let keys = hop.host_keys.identity();
        let parts: [&[u8]; 5] = [
            hop.address.as_bytes(),
            hop.user.as_bytes(),
            hop.credentials.digest(),
            keys.as_bytes(),
            hop.node.as_deref().unwrap_or_default().as_bytes(),
        ];
        hash.update(hop.port.to_be_bytes());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        next = hop.jump.as_deref();
    }
    hash.finalize().into()
}

/// A logged-in connection.
pub(super) struct Connection {
    handle: client::Handle<Guard>,
    seen: SeenKey,
    endpoint: String,
    /// Keeps the jump host's connection open for as long as this one.
    _via: Option<Lease>,
}

impl Connection {
    pub(super) fn new(
        handle: client::Handle<Guard>,
        seen: SeenKey,
        endpoint: String,
        via: Option<Lease>,
    ) -> Self {
        Self {
            handle,
            seen,
            endpoint,
            _via: via,
        }
    }
}

/// How many connections are kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub channels: usize,
    pub max_idle: usize,
    pub idle_timeout: Duration,
}

pub(super) struct Pool {
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    groups: HashMap<Key, Group>,
    idle: usize,
    reaping: bool,
}

/// Connections that are interchangeable.
#[derive(Default)]
struct Group {
    /// One connection of a group is opened at a time, so that those who wait can share it.
    gate: Arc<tokio::sync::Mutex<()>>,
    members: Vec<Member>,
}

struct Member {
    connection: Arc<Connection>,
    leases: usize,
    channels: usize,
    idle_since: Option<Instant>,
}

impl Pool {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on an open connection with room, if there is one.
    pub(super) fn lease(self: &Arc<Self>, key: Key) -> Option<Lease> {
        let mut state = self.lock();
        let State { groups, idle, .. } = &mut *state;
        let group = groups.get_mut(&key)?;
        group.forget_closed(idle);
        let member = group
            .members
            .iter_mut()
            .find(|member| member.leases < member.channels)?;
        if member.idle_since.take().is_some() {
            *idle -= 1;
        }
        member.leases += 1;
        let connection = Arc::clone(&member.connection);
        Some(Lease {
            pool: Arc::clone(self),
            key,
            connection,
            reused: true,
        })
    }

    /// Who holds the gate may open a connection for this key.
    pub(super) fn gate(&self, key: Key) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.lock().groups.entry(key).or_default().gate)
    }

    fn tidy(&self, key: Key) {
        let mut state = self.lock();
        if state.groups.get(&key).is_some_and(Group::is_abandoned) {
            state.groups.remove(&key);
        }
    }

    /// Adds a connection; its first place is the caller's.
    pub(super) fn add(self: &Arc<Self>, key: Key, connection: Connection) -> Lease {
        let connection = Arc::new(connection);
        let member = Member {
            connection: Arc::clone(&connection),
            leases: 1,
            channels: self.bounds.channels,
            idle_since: None,
        };
        self.lock()
            .groups
            .entry(key)
            .or_default()
            .members
            .push(member);
        Lease {
            pool: Arc::clone(self),
            key,
            connection,
            reused: false,
        }
    }

    /// Number of open connections.
    pub(super) fn size(&self) -> usize {
        self.lock()
            .groups
            .values()
            .map(|group| group.members.len())
            .sum()
    }

    fn give_back(self: &Arc<Self>, key: Key, connection: &Arc<Connection>) {
        let mut state = self.lock();
        let State {
            groups,
            idle,
            reaping,
        } = &mut *state;
        let Some(group) = groups.get_mut(&key) else {
            return;
        };
        let Some(at) = group.position(connection) else {
            // It was retired while in use.
            if group.is_abandoned() {
                groups.remove(&key);
            }
            return;
        };
        let member = &mut group.members[at];
        member.leases -= 1;
        if member.leases > 0 {
            return;
        }
        if *idle >= self.bounds.max_idle || connection.handle.is_closed() {
            group.members.swap_remove(at);
            if group.is_abandoned() {
                groups.remove(&key);
            }
            return;
        }
        member.idle_since = Some(Instant::now());
        *idle += 1;
        if !std::mem::replace(reaping, true) {
            tokio::spawn(reap(Arc::downgrade(self), self.bounds.idle_timeout));
        }
    }

    /// Closes what has been idle for too long; says when to look again.
    fn close_idle(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        let State {
            groups,
            idle,
            reaping,
        } = &mut *state;
        let expiry = |member: &Member| {
            member
                .idle_since
                .map(|since| since + self.bounds.idle_timeout)
        };
        let mut next: Option<Instant> = None;
        groups.retain(|_, group| {
            group.members.retain(|member| {
                let Some(at) = expiry(member) else {
                    return true;
                };
                if at <= now || member.connection.handle.is_closed() {
                    *idle -= 1;
                    return false;
                }
                next = Some(next.map_or(at, |next| next.min(at)));
                true
            });
            !group.is_abandoned()
        });
        *reaping = next.is_some();
        next
    }
}

impl Group {
    fn position(&self, connection: &Arc<Connection>) -> Option<usize> {
        self.members
            .iter()
            .position(|member| Arc::ptr_eq(&member.connection, connection))
    }

    fn forget_closed(&mut self, idle: &mut usize) {
        self.members.retain(|member| {
            let closed = member.connection.handle.is_closed();
            *idle -= usize::from(closed && member.idle_since.is_some());
            !closed
        });
    }

    fn is_abandoned(&self) -> bool {
        self.members.is_empty() && Arc::strong_count(&self.gate) == 1
    }
}

/// Forgets a key under which nothing was opened after all, also when the caller gave up half-way.
pub(super) struct Tidy<'a>(pub &'a Pool, pub Key);

impl Drop for Tidy<'_> {
    fn drop(&mut self) {
        self.0.tidy(self.1);
    }
}

async fn reap(pool: Weak<Pool>, every: Duration) {
    let mut next = Some(Instant::now() + every);
    while let Some(at) = next {
        tokio::time::sleep_until(at).await;
        let Some(pool) = pool.upgrade() else { return };
        next = pool.close_idle(Instant::now());
    }
}

/// A place on a connection, given back when dropped.
pub(super) struct Lease {
    pool: Arc<Pool>,
    key: Key,
    connection: Arc<Connection>,
    reused: bool,
}

impl Lease {
    pub(super) fn seen(&self) -> &SeenKey {
        &self.connection.seen
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.connection.endpoint
    }

    /// Whether the connection had been opened for an earlier call, and so may have died unnoticed.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) async fn open_session(&self) -> Result<russh::Channel<Msg>, russh::Error> {
        // Given up half-way, the server may hold a channel that nobody here knows of.
        let half_open = HalfOpen(self);
        let opened = self.connection.handle.channel_open_session().await;
        std::mem::forget(half_open);
        opened
    }

    pub(super) async fn open_tunnel(
        &self,
        address: &str,
        port: u16,
    ) -> Result<russh::ChannelStream<Msg>, russh::Error> {
        let handle = &self.connection.handle;
        let channel = handle
            .channel_open_direct_tcpip(address, port.into(), "127.0.0.1", 0)
            .await?;
        Ok(channel.into_stream())
    }

    /// Nobody leases this connection any more; those who use it may finish.
    pub(super) fn retire(&self) {
        let mut state = self.pool.lock();
        if let Some(group) = state.groups.get_mut(&self.key)
            && let Some(at) = group.position(&self.connection)
        {
            group.members.swap_remove(at);
        }
    }

    /// The server refused this place: it holds fewer channels than we thought. Says whether others have theirs.
    pub(super) fn lower(&self) -> bool {
        let mut state = self.pool.lock();
        let group = state.groups.get_mut(&self.key);
        let Some((group, at)) =
            group.and_then(|group| group.position(&self.connection).map(|at| (group, at)))
        else {
            return false;
        };
        let member = &mut group.members[at];
        let others = member.leases - 1;
        member.channels = member.channels.min(others);
        others > 0
    }
}

struct HalfOpen<'a>(&'a Lease);

impl Drop for HalfOpen<'_> {
    fn drop(&mut self) {
        self.0.retire();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.give_back(self.key, &self.connection);
    }
}
