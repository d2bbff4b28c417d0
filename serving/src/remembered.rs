//! Answers of reviews, remembered for seconds: a watch of many clients must not become as many questions to the API server, and a right that was
//! taken away must end soon. Tokens are remembered by digest.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use crate::{Attributes, Decision, Review, ReviewError, User};

/// Answers kept at most; beyond it, the old ones go, and then all of them.
const CAPACITY: usize = 4_096;

/// A review with a short memory.
pub struct Remembered<R> {
    review: R,
    tokens: Memory<(String, Option<String>), Option<User>>,
    decisions: Memory<(User, Attributes), Decision>,
}

impl<R> Remembered<R> {
    pub fn new(review: R, time: Duration) -> Self {
        Self {
            review,
            tokens: Memory::new(time),
            decisions: Memory::new(time),
        }
    }
}

impl<R: Review> Review for Remembered<R> {
    fn whose<'a>(
        &'a self,
        token: &'a str,
        audience: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<User>, ReviewError>> {
        Box::pin(async move {
            let key = (
                hex::encode(Sha256::digest(token)),
                audience.map(ToOwned::to_owned),
            );
            if let Some(user) = self.tokens.recall(&key) {
                return Ok(user);
            }
            let user = self.review.whose(token, audience).await?;
            self.tokens.keep(key, user.clone());
            Ok(user)
        })
    }

    fn may<'a>(
        &'a self,
        user: &'a User,
        attributes: &'a Attributes,
    ) -> BoxFuture<'a, Result<Decision, ReviewError>> {
        Box::pin(async move {
            let key = (user.clone(), attributes.clone());
            if let Some(decision) = self.decisions.recall(&key) {
                return Ok(decision);
            }
            let decision = self.review.may(user, attributes).await?;
            self.decisions.keep(key, decision.clone());
            Ok(decision)
        })
    }
}

struct Memory<K, V> {
    time: Duration,
    entries: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    fn new(time: Duration) -> Self {
        Self {
            time,
            entries: Mutex::default(),
        }
    }

    fn recall(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, value) = entries.get(key)?;
        (since.elapsed() < self.time).then(|| value.clone())
    }

    fn keep(&self, key: K, value: V) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.retain(|_, (since, _)| since.elapsed() < self.time);
        }
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(key, (Instant::now(), value));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures::future::BoxFuture;

    use super::Remembered;
    use crate::{Attributes, Decision, Review, ReviewError, User};

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Review for &'static Counting {
        fn whose<'a>(
            &'a self,
            token: &'a str,
            _: Option<&'a str>,
        ) -> BoxFuture<'a, Result<Option<User>, ReviewError>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            let user = User {
                name: token.to_owned(),
                ..User::default()
            };
            Box::pin(async { Ok(Some(user)) })
        }

        fn may<'a>(
            &'a self,
            _: &'a User,
            _: &'a Attributes,
        ) -> BoxFuture<'a, Result<Decision, ReviewError>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(async {
                Ok(Decision {
                    allowed: true,
                    reason: String::new(),
                })
            })
        }
    }

    async fn asked(time: Duration) -> usize {
        let counting: &'static Counting = Box::leak(Box::default());
        let review = Remembered::new(counting, time);
        for audience in [None, None, Some("a"), Some("a")] {
            review.whose("token", audience).await.expect("answered");
        }
        for name in ["x", "x", "y"] {
            let attributes = Attributes {
                name: Some(name.into()),
                ..Attributes::default()
            };
            review
                .may(&User::default(), &attributes)
                .await
                .expect("answered");
        }
        counting.0.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_question_is_asked_once_within_its_time() {
        assert_eq!(
            asked(Duration::from_mins(10)).await,
            4,
            "audience and name make it another question"
        );
        assert_eq!(
            asked(Duration::ZERO).await,
            7,
            "afterwards it is asked again"
        );
    }
}
