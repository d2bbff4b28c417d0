//! From an address to a logged-in connection: dial, handshake with the host key judged, login; what looks like congestion is tried again until the deadline.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use rand::RngExt as _;
use russh::{MethodSet, client};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Error, Fleet, SeenKey, Target, algorithms,
    guard::{Guard, Refusal},
    login::{Login, login},
    pool::{Connection, Lease},
};

/// Both kinds of stream: a socket, or a channel of a jump host.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why one attempt did not succeed, and so what to do about it.
enum Failure {
    /// The address did not answer; it may be down, or we may be too many.
    Silent(Error),
    /// The server took the connection and then dropped or forgot it: too many at once.
    Congested(Error),
    /// Trying again changes nothing.
    Final(Error),
}

const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Connects and logs in, trying again what congestion spoils, until the deadline.
pub(super) async fn connect(
    fleet: &Fleet,
    target: &Target,
    deadline: Instant,
) -> Result<Connection, Error> {
    target.credentials.permit(target)?;
    let began = Instant::now();
    let (mut last, mut silent, mut pause) = (None, false, BACKOFF.0);
    let timed_out = |step, last: Option<Error>| Error::DeliveryTimedOut {
        address: target.endpoint(),
        waited: began.elapsed(),
        step,
        last: last.map(Box::new),
    };
    loop {
        // The way through a jump host comes first: it needs a place of its own.
        let via = through(fleet, target, deadline).await?;
        let place = timeout_at(deadline, fleet.limiter(&target.team).acquire()).await;
        let Ok(place) = place else {
            return Err(timed_out("waiting for its turn", last));
        };
        match attempt(fleet, target, via, deadline).await {
            // Silence was congestion, since the address does answer.
            Ok(connection) if silent => {
                place.succeeded_late(&target.endpoint());
                return Ok(connection);
            }
            Ok(connection) => {
                place.succeeded(&target.endpoint());
                return Ok(connection);
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Silent(error)) => (last, silent) = (Some(error), true),
            Err(Failure::Congested(error)) => {
                place.congested(&target.endpoint());
                last = Some(error);
            }
        }
        let jitter = rand::rng().random_range(0.5..1.5);
        if timeout_at(deadline, sleep(pause.mul_f64(jitter)))
            .await
            .is_err()
        {
            return Err(timed_out("connecting", last));
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// A place on the jump host's connection, where the target has one.
async fn through(
    fleet: &Fleet,
    target: &Target,
    deadline: Instant,
) -> Result<Option<Lease>, Error> {
    let Some(jump) = &target.jump else {
        return Ok(None);
    };
    let lease = Box::pin(fleet.lease(jump, deadline)).await;
    lease.map(Some).map_err(|source| Error::JumpHost {
        jump: jump.endpoint(),
        source: Box::new(source),
    })
}

async fn attempt(
    fleet: &Fleet,
    target: &Target,
    via: Option<Lease>,
    deadline: Instant,
) -> Result<Connection, Failure> {
    let limits = fleet.limits();
    let dialled = match &via {
        Some(lease) => tunnel(fleet, lease, target, limits.connect_timeout).await?,
        None => dial(fleet, target, limits.connect_timeout).await?,
    };
    let patience = deadline.min(Instant::now() + limits.handshake_timeout);
    let logged_in = timeout_at(patience, shake_hands(target, dialled)).await;
    let (handle, seen) = logged_in.unwrap_or_else(|_| {
        let source = russh::Error::ConnectionTimeout;
        Err(Failure::Congested(Error::Handshake {
            address: target.endpoint(),
            source,
        }))
    })?;
    Ok(Connection::new(handle, seen, target.endpoint(), via))
}

async fn dial(
    fleet: &Fleet,
    target: &Target,
    patience: Duration,
) -> Result<Box<dyn Stream>, Failure> {
    let address = target.endpoint();
    let mut last = None;
    for ip in permitted(fleet, target).await.map_err(Failure::Final)? {
        match timeout(
            patience,
            TcpStream::connect(SocketAddr::new(ip, target.port)),
        )
        .await
        {
            Ok(Ok(stream)) => {
                // Small packets go out at once; a failure only costs time.
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Ok(Err(source)) => last = Some(source),
            Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
        }
    }
    let source = last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    let kind = source.kind();
    let error = Error::Connect { address, source };
    Err(match kind {
        io::ErrorKind::TimedOut => Failure::Silent(error),
        io::ErrorKind::ConnectionReset => Failure::Congested(error),
        _ => Failure::Final(error),
    })
}

/// Resolves once; the addresses that the credentials may go to are the only ones dialled, and none that is off limits.
async fn permitted(fleet: &Fleet, target: &Target) -> Result<Vec<IpAddr>, Error> {
    let resolved: Vec<IpAddr> = match target.address.parse() {
        Ok(ip) => vec![ip],
        Err(_) => tokio::net::lookup_host((target.address.as_str(), target.port))
            .await
            .map_err(|source| Error::Resolve {
                address: target.address.clone(),
                source,
            })?
            .map(|found| found.ip())
            .collect(),
    };
    let chosen = target
        .credentials
        .addresses()
        .choose(&target.address, &resolved);
    if chosen.is_empty() {
        return Err(Error::CredentialNotForAddress {
            address: target.address.clone(),
        });
    }
    for ip in &chosen {
        fleet.judge(target, *ip)?;
    }
    Ok(chosen)
}

async fn tunnel(
    fleet: &Fleet,
    via: &Lease,
    target: &Target,
    patience: Duration,
) -> Result<Box<dyn Stream>, Failure> {
    let address = target.endpoint();
    // A name is resolved at the jump host, out of our sight.
    if let Ok(ip) = target.address.parse() {
        fleet.judge(target, ip).map_err(Failure::Final)?;
    }
    match timeout(patience, via.open_tunnel(&target.address, target.port)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
            let source = io::Error::other(format!("the jump host says: {}", reason.description()));
            Err(Failure::Final(Error::Connect { address, source }))
        }
        Ok(Err(_)) => {
            via.retire();
            Err(Failure::Silent(Error::ConnectionLost {
                address: via.endpoint().to_owned(),
            }))
        }
        Err(_) => Err(Failure::Silent(Error::Connect {
            address,
            source: io::ErrorKind::TimedOut.into(),
        })),
    }
}

async fn shake_hands(
    target: &Target,
    stream: Box<dyn Stream>,
) -> Result<(client::Handle<Guard>, SeenKey), Failure> {
    let address = target.endpoint();
    let shown = Arc::new(OnceLock::new());
    let secret = target.credentials.host_keys();
    let guard = Guard {
        address: target.address.clone(),
        host: target.host_keys.clone(),
        secret: secret.clone(),
        shown: Arc::clone(&shown),
    };
    let config = algorithms::config(&target.host_keys, secret);
    let lost = |source| {
        Failure::Congested(Error::Handshake {
            address: address.clone(),
            source,
        })
    };
    let mut handle = match client::connect_stream(config, stream, guard).await {
        Ok(handle) => handle,
        Err(Refusal::HostKey(error)) => return Err(Failure::Final(*error)),
        Err(Refusal::Protocol(source)) if is_dropped(&source) => return Err(lost(source)),
        Err(Refusal::Protocol(source)) => {
            return Err(Failure::Final(Error::Handshake { address, source }));
        }
    };
    let seen = shown.get().cloned();
    let seen = seen.ok_or_else(|| lost(russh::Error::Disconnect))?;
    let (user, credentials) = (&target.user, &target.credentials);
    let answer = login(&mut handle, user, credentials, seen.first_use).await;
    match answer.map_err(lost)? {
        Login::Accepted => Ok((handle, seen)),
        Login::Rejected {
            offered,
            password_withheld,
        } => Err(Failure::Final(Error::AuthRejected {
            address,
            user: user.clone(),
            offered: methods(&offered),
            password_withheld,
        })),
    }
}

/// What a server would have taken, in words.
fn methods(offered: &MethodSet) -> String {
    if offered.is_empty() {
        return "nothing more".to_owned();
    }
    let names: Vec<&str> = offered.iter().map(Into::into).collect();
    names.join(", ")
}

/// Whether the server went away rather than disagreed: what `MaxStartups` does to those above it.
fn is_dropped(error: &russh::Error) -> bool {
    use russh::Error as E;
    matches!(
        error,
        E::Disconnect | E::HUP | E::IO(_) | E::ConnectionTimeout | E::SendError | E::RecvError
    )
}
