//! Reads shared by those who ask for the same at the same time: each is answered by a read that began after it had asked.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{sync::Mutex as Turn, time::Instant};

/// The last answer to a question, and when it was begun to be read.
type Answer<V> = Arc<Turn<Option<(Instant, V)>>>;

/// Answers by question; each is kept only for as long as somebody waits for it.
pub struct Bursts<K, V>(Mutex<HashMap<K, Answer<V>>>);

impl<K, V> Default for Bursts<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Bursts<K, V> {
    /// What `read` says, or what it said to another meanwhile; so nobody waits for more than two reads, however many ask and whatever fails.
    pub async fn ask(&self, question: K, read: impl AsyncFnOnce() -> V) -> V {
        self.ask_among(question, async |_| read().await).await
    }

    /// The same, where it depends on how many ask what is worth reading.
    pub async fn ask_among(&self, question: K, read: impl AsyncFnOnce(usize) -> V) -> V {
        let asked = Instant::now();
        let seat = Seat {
            answer: self.answers().entry(question.clone()).or_default().clone(),
            question,
            of: self,
        };
        seat.gathered().await;
        let mut last = seat.answer.lock().await;
        if let Some((begun, value)) = &*last
            && *begun >= asked
        {
            return value.clone();
        }
        let begun = Instant::now();
        let value = read(seat.shared_by()).await;
        *last = Some((begun, value.clone()));
        value
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<K, Answer<V>>> {
        self.0.lock().expect("no holder panics")
    }
}

/// Somebody who waits for an answer; the last to leave takes it away.
struct Seat<'a, K: Eq + Hash, V> {
    question: K,
    answer: Answer<V>,
    of: &'a Bursts<K, V>,
}

impl<K: Eq + Hash, V> Seat<'_, K, V> {
    /// How many wait, this one among them; the map has one as well.
    fn shared_by(&self) -> usize {
        Arc::strong_count(&self.answer) - 1
    }

    /// Lets those come first who are ready to ask the same, as long as more of them do.
    async fn gathered(&self) {
        let mut before = 0;
        while self.shared_by() > before {
            before = self.shared_by();
            tokio::task::yield_now().await;
        }
    }
}

impl<K: Eq + Hash, V> Drop for Seat<'_, K, V> {
    fn drop(&mut self) {
        let mut answers = self.of.0.lock().expect("no holder panics");
        if self.shared_by() == 1 {
            answers.remove(&self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::Bursts;

    #[tokio::test]
    async fn those_who_ask_together_share_an_answer_and_those_who_come_meanwhile_the_next() {
        let (bursts, reads) = (Bursts::default(), Cell::new(0));
        let ask = || {
            bursts.ask_among("secret", async |askers| {
                sleep(Duration::from_millis(1)).await;
                reads.set(reads.get() + 1);
                (reads.get(), askers)
            })
        };
        let late = async || {
            // By then the others are read for, which takes longer.
            sleep(Duration::from_micros(1)).await;
            ask().await
        };
        let early = join_all((0..100).map(|_| ask()));
        let (early, late) = tokio::join!(early, join_all((0..9).map(|_| late())));
        assert!(early.iter().all(|told| *told == (1, 100)), "{early:?}");
        assert!(late.iter().all(|(read, _)| *read == 2), "{late:?}");
        assert!(bursts.answers().is_empty(), "nothing is kept of a secret");
        assert_eq!(
            ask().await,
            (3, 1),
            "what was read before it was asked is no answer"
        );
    }
}
