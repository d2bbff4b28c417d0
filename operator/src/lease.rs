//! The Lease: taken when nobody can hold it, renewed while this process leads, given back at its end. Its term keeps the fence open that every effect passes.

use std::time::{Duration, Instant};

use decide::lease::{self, Next, Seen};
use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
};
use reach::{Fence, Warden};
use tokio::time::{sleep, timeout};

const NAME: &str = "pilothouse-operator";
/// Looks at the Lease, and renewals of it, within its duration.
const LOOKS: u32 = 5;

/// The same for all replicas, who hold it and who wait.
#[derive(Clone)]
struct Place {
    api: Api<v1::Lease>,
    me: String,
    duration: Duration,
}

/// A replica that waits to lead.
pub struct Candidate(Place);

/// The time in which this replica leads.
pub struct Term {
    place: Place,
    lease: v1::Lease,
    warden: Warden,
}

impl Candidate {
    pub fn new(client: Client, namespace: &str, me: &str, duration: Duration) -> Self {
        Self(Place {
            api: Api::namespaced(client, namespace),
            me: me.to_owned(),
            duration,
        })
    }

    /// Waits until this replica leads.
    pub async fn elected(self) -> Term {
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            let sent = Instant::now();
            match self.0.within_time(self.0.api.get_opt(NAME)).await {
                Some(lease) => {
                    let version = lease.as_ref().and_then(ResourceExt::resource_version);
                    if version != seen {
                        (seen, since) = (version, sent);
                    }
                    if self.0.may_take(lease.as_ref(), since.elapsed())
                        && let Some(term) = self.0.take(lease).await
                    {
                        return term;
                    }
                }
                None => since = Instant::now(),
            }
            sleep(self.0.duration / LOOKS).await;
        }
    }
}

impl Place {
    fn may_take(&self, lease: Option<&v1::Lease>, unchanged: Duration) -> bool {
        let spec = lease.and_then(|lease| lease.spec.as_ref());
        let seconds = spec.and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok());
        let seen = Seen {
            holder: lease.map_or("", holder),
            promised: seconds.map_or(self.duration, Duration::from_secs),
            unchanged,
        };
        lease::next(&self.me, seen) == Next::Take
    }

    /// Takes the Lease in the very version that was judged.
    async fn take(&self, lease: Option<v1::Lease>) -> Option<Term> {
        let now = Timestamp::now();
        let lease = match lease {
            Some(lease) if self.is_of_the_past(&lease, now) => {
                self.within_time(self.remove(&lease)).await?;
                None
            }
            lease => lease,
        };
        let (is_new, sent) = (lease.is_none(), Instant::now());
        let mut lease = lease.unwrap_or_default();
        lease.metadata.name = Some(NAME.to_owned());
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.me.clone());
        spec.lease_duration_seconds = i32::try_from(self.duration.as_secs()).ok();
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
        (spec.acquire_time, spec.renew_time) = (Some(MicroTime(now)), Some(MicroTime(now)));
        let params = PostParams::default();
        let lease = if is_new {
            self.within_time(self.api.create(&params, &lease)).await?
        } else {
            self.within_time(self.api.replace(NAME, &params, &lease))
                .await?
        };
        Some(Term {
            place: self.clone(),
            lease,
            warden: Warden::until(sent + lease::counted_on(self.duration)),
        })
    }

    fn is_of_the_past(&self, lease: &v1::Lease, now: Timestamp) -> bool {
        lease::is_of_the_past(renewed_at(lease).map(|at| at.0), self.duration, now)
    }

    /// Removes the Lease in this very version.
    async fn remove(&self, lease: &v1::Lease) -> kube::Result<()> {
        let this_one = DeleteParams {
            preconditions: Some(Preconditions {
                uid: lease.uid(),
                resource_version: lease.resource_version(),
            }),
            ..DeleteParams::default()
        };
        self.api.delete(NAME, &this_one).await.map(drop)
    }

    /// What was asked, unless it fails or takes so long that it had better be asked again.
    async fn within_time<T>(&self, asked: impl Future<Output = kube::Result<T>>) -> Option<T> {
        match timeout(self.duration / LOOKS, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) if is_overtaken(&error) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::error::chain(&error), "the Lease cannot be read or written; trying again");
            }
            Err(_) => {
                tracing::warn!("the API server does not answer about the Lease; trying again");
            }
        }
        None
    }
}

impl Term {
    /// What every effect passes.
    pub fn fence(&self) -> Fence {
        self.warden.fence()
    }

    pub fn epoch(&self) -> i64 {
        let made = self.lease.creation_timestamp();
        let hands = self.lease.spec.as_ref().and_then(|s| s.lease_transitions);
        lease::epoch(
            made.map_or(0, |made| made.0.as_second()),
            hands.unwrap_or(0),
        )
    }

    /// Renews the Lease until it is somebody else's. While the API server is away the fence closes by itself.
    pub async fn serve(&mut self) {
        loop {
            sleep(self.place.duration / LOOKS).await;
            let sent = Instant::now();
            match self.place.clone().within_time(self.renewed()).await {
                Some(Some(lease)) => {
                    self.lease = lease;
                    let open = sent + lease::counted_on(self.place.duration);
                    self.warden.keep_open_until(open);
                }
                Some(None) => return,
                None => {}
            }
        }
    }

    /// The Lease with a new time; `None` when it is no longer ours.
    async fn renewed(&mut self) -> kube::Result<Option<v1::Lease>> {
        let api = self.place.api.clone();
        loop {
            let mut next = self.lease.clone();
            next.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
            match api.replace(NAME, &PostParams::default(), &next).await {
                Err(error) if is_overtaken(&error) => {}
                other => return other.map(Some),
            }
            // An answer of ours was lost, or somebody has written into the Lease, or taken it.
            match api.get_opt(NAME).await? {
                Some(lease) if self.is_same_term(&lease) => self.lease = lease,
                _ => return Ok(None),
            }
        }
    }

    fn is_same_term(&self, lease: &v1::Lease) -> bool {
        let hands = |lease: &v1::Lease| lease.spec.as_ref().and_then(|s| s.lease_transitions);
        lease.uid() == self.lease.uid()
            && holder(lease) == self.place.me
            && hands(lease) == hands(&self.lease)
            // One that was renewed less often than this term knows came out of a backup.
            && renewed_at(lease) >= renewed_at(&self.lease)
    }

    /// Closes the fence and gives the Lease back, so that the next need not wait for it to expire.
    pub async fn end(mut self) {
        self.warden.close();
        if let Some(spec) = &mut self.lease.spec {
            spec.holder_identity = None;
        }
        let params = PostParams::default();
        let given_back = self.place.api.replace(NAME, &params, &self.lease);
        // One that is not given back expires.
        let _ = self.place.within_time(given_back).await;
    }
}

fn renewed_at(lease: &v1::Lease) -> Option<&MicroTime> {
    lease.spec.as_ref()?.renew_time.as_ref()
}

fn holder(lease: &v1::Lease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

/// Another version is there, or none any more, or somebody was faster to create it.
fn is_overtaken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 || status.code == 404)
}
