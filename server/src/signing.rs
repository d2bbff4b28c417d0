//! The key by which the store vouches for its audit, in a Secret beside it and not among what it vouches for, and the checkpoints that are signed with it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crds::audit::{Checkpoint, Head};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serving::telemetry::chain;
use tokio::{
    sync::watch,
    time::{self, Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::slot::Slot;

/// Field of the Secret: the key as PKCS #8.
const FIELD: &str = "key.p8";
/// Time between attempts to read or make the key.
const RETRY: Duration = Duration::from_secs(2);
/// Time between looks at where the audit has come to.
const LOOK: Duration = Duration::from_secs(15);
/// A checkpoint is signed after so many entries, or so long after the one before where there are any.
const ENTRIES: i64 = 1_000;
const PERIOD: Duration = Duration::from_mins(5);

/// The key, once it is there.
pub type Keys = watch::Receiver<Option<Arc<Key>>>;

/// A key that signs.
#[derive(Debug)]
pub struct Key(Ed25519KeyPair);

/// Why there is no key, or no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("Secret {0} could not be read")]
    Read(String, #[source] Box<kube::Error>),
    #[error("Secret {0} could not be made")]
    Make(String, #[source] Box<kube::Error>),
    #[error(
        "Secret {0} holds no key {FIELD}: bring back the one that was there, or delete it to have another made"
    )]
    Unusable(String),
    #[error("no key could be made")]
    Random,
    #[error("the audit could not be read or signed")]
    Store(#[source] records::Error),
}

impl Key {
    /// A new key, and what is kept of it.
    pub fn make() -> Result<(Self, Vec<u8>), SigningError> {
        let kept = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let kept = kept.map_err(|_| SigningError::Random)?.as_ref().to_vec();
        let key = Self::read(&kept).ok_or(SigningError::Random)?;
        Ok((key, kept))
    }

    fn read(kept: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_pkcs8(kept).ok().map(Self)
    }

    /// By which everybody verifies, in lower-case hex.
    pub fn public(&self) -> String {
        hex::encode(self.0.public_key())
    }

    /// Vouches for where a chain has come to.
    pub fn sign(&self, head: &Head, now: Timestamp) -> Checkpoint {
        let at = Timestamp::from_millisecond(now.as_millisecond());
        let at = at.expect("a time without its fraction is one");
        let signature = self.0.sign(Checkpoint::signed(head, at).as_bytes());
        Checkpoint {
            sequence: head.sequence,
            hash: head.hash.clone(),
            at,
            signature: hex::encode(signature),
        }
    }
}

/// Reads the key from its Secret, or makes it there, until there is one.
pub fn follow(
    client: Client,
    namespace: &str,
    secret: String,
    shutdown: CancellationToken,
) -> Keys {
    let (tell, keys) = watch::channel(None);
    let api = Api::namespaced(client, namespace);
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        loop {
            match kept(&api, &secret).await {
                Ok(key) => return drop(tell.send_replace(Some(Arc::new(key)))),
                Err(e) => tracing::error!(error = chain(&e), "the audit is not signed"),
            }
            time::sleep(RETRY).await;
        }
    }));
    keys
}

/// Whoever makes it first wins, and the others read again.
async fn kept(api: &Api<Secret>, name: &str) -> Result<Key, SigningError> {
    let found = api.get_opt(name).await;
    let found = found.map_err(|e| SigningError::Read(name.to_owned(), Box::new(e)))?;
    if let Some(secret) = found {
        let kept = secret.data.as_ref().and_then(|data| data.get(FIELD));
        let key = kept.and_then(|kept| Key::read(&kept.0));
        return key.ok_or_else(|| SigningError::Unusable(name.to_owned()));
    }
    let (key, kept) = Key::make()?;
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(FIELD.to_owned(), ByteString(kept))])),
        ..Secret::default()
    };
    let made = api.create(&PostParams::default(), &secret).await;
    made.map_err(|e| SigningError::Make(name.to_owned(), Box::new(e)))?;
    tracing::info!(
        secret = name,
        public = key.public(),
        "key of the audit made"
    );
    Ok(key)
}

/// Signs where the audit has come to, until the token is cancelled.
pub async fn keep(slot: Slot, keys: Keys, shutdown: CancellationToken) {
    let signing = async {
        let mut looks = time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            looks.tick().await;
            let key = keys.borrow().clone();
            let Some(key) = key else { continue };
            if let Err(e) = look(&slot, &key, &mut last).await {
                tracing::warn!(error = chain(&e), "the audit waits for its checkpoint");
            }
        }
    };
    shutdown.run_until_cancelled(signing).await;
}

/// What was signed last by this process, and when.
type Last = Option<(i64, Instant)>;

pub async fn look(slot: &Slot, key: &Key, last: &mut Last) -> Result<(), SigningError> {
    let Ok(store) = slot.store() else {
        return Ok(());
    };
    let head = store.audit_head().await.map_err(SigningError::Store)?;
    let is_due = last.is_none_or(|(sequence, at)| {
        let entries = head.sequence - sequence;
        entries >= ENTRIES || (entries > 0 && at.elapsed() >= PERIOD)
    });
    if head.sequence == 0 || !is_due {
        return Ok(());
    }
    let checkpoint = key.sign(&head, Timestamp::now());
    let signed = store.sign(checkpoint).await;
    signed.map_err(SigningError::Store)?;
    *last = Some((head.sequence, Instant::now()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Mutex};

    use axum::http::{Method, Request, Response, StatusCode};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use ring::signature::{ED25519, UnparsedPublicKey};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_signed_is_verified_by_the_public_key_alone() {
        let (key, kept) = Key::make().expect("a key");
        let head = Head {
            sequence: 7,
            hash: "ab".repeat(32),
        };
        let checkpoint = key.sign(&head, Timestamp::now());
        let public = hex::decode(key.public()).expect("hex");
        let signature = hex::decode(&checkpoint.signature).expect("hex");
        let verifies = |said: String| {
            let public = UnparsedPublicKey::new(&ED25519, &public);
            public.verify(said.as_bytes(), &signature).is_ok()
        };
        assert!(verifies(Checkpoint::signed(&head, checkpoint.at)));
        assert!(!verifies(Checkpoint::signed(
            &Head::default(),
            checkpoint.at
        )));
        let again = Key::read(&kept).expect("what was kept is the key");
        assert_eq!(again.public(), key.public());
    }

    /// An API server with room for one Secret.
    fn cluster() -> (Client, Arc<Mutex<Option<Value>>>) {
        let secret = Arc::new(Mutex::new(None));
        let there = Arc::clone(&secret);
        let service = tower::service_fn(move |request: Request<Body>| {
            let there = Arc::clone(&there);
            async move {
                let is_made = request.method() == Method::POST;
                let sent = request.into_body().collect().await.expect("a body");
                let mut there = there.lock().expect("no holder panics");
                if is_made {
                    *there = serde_json::from_slice(&sent.to_bytes()).expect("JSON");
                }
                let missing = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
                let (status, told) = match &*there {
                    Some(secret) => (StatusCode::OK, secret),
                    None => (StatusCode::NOT_FOUND, &missing),
                };
                let mut answer = Response::new(Body::from(told.to_string().into_bytes()));
                *answer.status_mut() = status;
                Ok::<_, Infallible>(answer)
            }
        });
        (Client::new(service, "ops"), secret)
    }

    #[tokio::test]
    async fn the_key_is_made_once_and_one_that_cannot_be_read_is_not_replaced() {
        let (client, secret) = cluster();
        let api = Api::namespaced(client, "ops");
        let first = kept(&api, "audit").await.expect("a key is made");
        let again = kept(&api, "audit").await.expect("it is read");
        assert_eq!(first.public(), again.public());
        let broken = json!({"metadata": {"name": "audit"}, "data": {FIELD: "AAAA"}});
        *secret.lock().expect("no holder panics") = Some(broken.clone());
        let refused = kept(&api, "audit").await;
        assert!(matches!(refused, Err(SigningError::Unusable(_))));
        assert_eq!(*secret.lock().expect("no holder panics"), Some(broken));
    }
}
