//! What was found of containers before: the same ones come again and again, with every replica and every time that they are applied. Nothing is ever said by it that would not be found anew.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::workload::Container;
use crate::command::Finding;

/// Bytes of words that are kept, twice at most: those of before are given up when there are as many new ones.
const BYTES: usize = 256 << 10;
/// A container with more of them is found anew every time.
const LONGEST: usize = 8 << 10;

/// What one policy says of containers that it was asked about, the last of them. It is of that policy as it was then, and ends with it.
#[derive(Default)]
pub struct Memory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    new: HashMap<Arc<Container>, Arc<[Finding]>>,
    old: HashMap<Arc<Container>, Arc<[Finding]>>,
    /// Of the new ones.
    bytes: usize,
}

impl Memory {
    /// What is found, now or before.
    pub(super) fn recall(
        &self,
        container: Container,
        find: impl FnOnce(&Container) -> Vec<Finding>,
    ) -> Arc<[Finding]> {
        let bytes = container.bytes();
        if bytes > LONGEST {
            return find(&container).into();
        }
        if let Some(found) = self.kept().recall(&container, bytes) {
            return found;
        }
        // Others are not held up meanwhile; whoever asks for the same finds the same.
        let found: Arc<[Finding]> = find(&container).into();
        self.kept().keep(Arc::new(container), &found, bytes);
        found
    }

    /// Whoever panicked has left one entry too few.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn recall(&mut self, container: &Container, bytes: usize) -> Option<Arc<[Finding]>> {
        if let Some(found) = self.new.get(container) {
            return Some(Arc::clone(found));
        }
        let (container, found) = self.old.remove_entry(container)?;
        self.keep(container, &found, bytes);
        Some(found)
    }

    fn keep(&mut self, container: Arc<Container>, found: &Arc<[Finding]>, bytes: usize) {
        if self.bytes + bytes > BYTES {
            self.old = mem::take(&mut self.new);
            self.bytes = 0;
        }
        if self.new.insert(container, Arc::clone(found)).is_none() {
            self.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(n: usize, length: usize) -> Container {
        let mut container = Container::default();
        container.command = vec![format!("{n}"), "x".repeat(length)];
        container
    }

    #[test]
    fn what_came_lately_is_not_looked_at_again_and_little_is_kept() {
        let memory = Memory::default();
        let asked = |n, length| {
            let mut is_new = false;
            memory.recall(container(n, length), |_| {
                is_new = true;
                Vec::new()
            });
            is_new
        };
        assert!(asked(0, 10) && !asked(0, 10), "it is known by then");
        assert!(asked(0, 11), "another word is another container");
        assert!(
            asked(1, LONGEST) && asked(1, LONGEST),
            "too long to be kept"
        );
        let many = 4 * BYTES / 1000;
        for n in 2..many {
            assert!(asked(n, 1000));
            assert!(!asked(0, 10), "it comes so often that it is never given up");
        }
        let kept = memory.kept();
        let all = kept.new.keys().chain(kept.old.keys());
        let bytes: usize = all.map(|one| one.bytes()).sum();
        assert!(bytes <= 2 * BYTES && bytes > BYTES, "{bytes}");
        drop(kept);
        assert!(asked(2, 1000), "it was given up");
    }
}
