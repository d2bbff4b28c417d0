//! Takes secrets out of a program's output before anything is stored: in every encoding, across writes, across line breaks of encoders, and where
//! standard output and standard error together spell one. What could still become a secret is held back until it is decided.

mod automaton;
mod pattern;

use std::ops::Range;
use std::sync::Arc;

use crate::journal::{RefusedReason, SECRET_BYTES_MIN, SECRET_BYTES_TOTAL, Stream};

use automaton::{Automaton, Place};
use pattern::Patterns;

/// What stands in a secret's place.
pub const MARK: &[u8] = b"***";

/// At the end of the output, the beginning of a secret is masked from this length on.
const CUT_BYTES_MIN: usize = 8;

/// Receives masked output.
pub type Sink<'a> = dyn FnMut(Stream, &[u8]) + 'a;

/// Why secrets can not be masked; nothing may be started with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmaskable {
    /// A secret is too short to be hidden in all its encodings.
    #[error(
        "a secret has less than {SECRET_BYTES_MIN} bytes and can not be masked in all its encodings; use a longer value, or one that is not sensitive"
    )]
    TooShort {
        /// Which of them.
        index: usize,
    },
    /// All of them together are too much to search for.
    #[error("the secrets have {bytes} bytes together, and {SECRET_BYTES_TOTAL} can be masked")]
    TooMuch {
        /// Bytes of all of them.
        bytes: usize,
    },
}

impl Unmaskable {
    /// How a host spells the same refusal.
    pub const fn reason(self) -> RefusedReason {
        match self {
            Self::TooShort { .. } => RefusedReason::SecretTooShort,
            Self::TooMuch { .. } => RefusedReason::BadRequest,
        }
    }
}

/// Says whether these secrets can be masked. Blank ones are ignored.
pub fn check<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<(), Unmaskable> {
    let mut bytes = 0;
    for (index, secret) in secrets.into_iter().enumerate() {
        bytes += secret.len();
        if (1..SECRET_BYTES_MIN).contains(&secret.trim().len()) {
            return Err(Unmaskable::TooShort { index });
        }
    }
    if bytes > SECRET_BYTES_TOTAL {
        return Err(Unmaskable::TooMuch { bytes });
    }
    Ok(())
}

/// Masks both streams of one program.
pub struct Masks(Option<Layers>);

struct Layers {
    stdout: Mask,
    stderr: Mask,
    merged: Mask,
}

impl Masks {
    /// Blank secrets are ignored. What `check` does not like is for the caller to refuse.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let patterns = Patterns::of(secrets.into_iter().filter(|s| !s.trim().is_empty()));
        if patterns.exact.is_empty() {
            return Self(None);
        }
        Self::searching(&Arc::new(Search::new(&patterns)))
    }

    fn searching(search: &Arc<Search>) -> Self {
        let mask = || Mask::new(Arc::clone(search));
        Self(Some(Layers {
            stdout: mask(),
            stderr: mask(),
            merged: mask(),
        }))
    }

    /// Masks the same secrets in something else, without the work of a new search.
    #[must_use]
    pub fn anew(&self) -> Self {
        match &self.0 {
            None => Self(None),
            Some(layers) => Self::searching(&layers.merged.search),
        }
    }

    pub fn push(&mut self, stream: Stream, bytes: &[u8], sink: &mut Sink) {
        let Some(Layers {
            stdout,
            stderr,
            merged,
        }) = &mut self.0
        else {
            return sink(stream, bytes);
        };
        let own = if stream == Stream::Stdout {
            stdout
        } else {
            stderr
        };
        own.push(stream, bytes, &mut |stream, masked| {
            merged.push(stream, masked, sink);
        });
    }

    /// Releases what was held back; nothing may be pushed afterwards.
    pub fn finish(&mut self, sink: &mut Sink) {
        let Some(Layers {
            stdout,
            stderr,
            merged,
        }) = &mut self.0
        else {
            return;
        };
        stdout.finish(&mut |stream, masked| merged.push(stream, masked, sink));
        stderr.finish(&mut |stream, masked| merged.push(stream, masked, sink));
        merged.finish(sink);
    }
}

struct Search {
    exact: Automaton,
    wrapped: Automaton,
    /// Whether some pattern begins with the byte.
    starts: Box<[bool; 256]>,
}

impl Search {
    fn new(patterns: &Patterns) -> Self {
        let mut starts = Box::new([false; 256]);
        for pattern in patterns.exact.iter().chain(&patterns.wrapped) {
            starts[usize::from(pattern[0])] = true;
        }
        Self {
            exact: Automaton::new(patterns.exact.iter().map(Vec::as_slice)),
            wrapped: Automaton::new(patterns.wrapped.iter().map(Vec::as_slice)),
            starts,
        }
    }
}

/// Masks one sequence of bytes, each of which belongs to a stream.
struct Mask {
    search: Arc<Search>,
    exact: Place,
    wrapped: Place,
    /// Line breaks directly before the next byte.
    breaks: usize,
    /// Bytes not yet released, and for runs of them their stream.
    held: Vec<u8>,
    runs: Vec<(Stream, usize)>,
    /// Parts of `held` to mask, in order, apart from each other.
    covers: Vec<Range<usize>>,
    /// The last thing handed out was a mark, which also stands for a cover that goes on from there.
    marked: bool,
}

impl Mask {
    fn new(search: Arc<Search>) -> Self {
        Self {
            search,
            exact: Place::START,
            wrapped: Place::START,
            breaks: 0,
            held: Vec::new(),
            runs: Vec::new(),
            covers: Vec::new(),
            marked: false,
        }
    }

    fn push(&mut self, stream: Stream, bytes: &[u8], sink: &mut Sink) {
        let from = self.held.len();
        self.held.extend_from_slice(bytes);
        match self.runs.last_mut() {
            Some((last, length)) if *last == stream => *length += bytes.len(),
            _ => self.runs.push((stream, bytes.len())),
        }
        let mut at = from;
        while let Some(next) = self.next_start(at) {
            self.step(next);
            at = next + 1;
        }
        let exact = self.search.exact.depth(self.exact);
        let undecided = (self.held.len() - exact).min(self.start_of_wrapped(self.held.len()));
        self.release(undecided, sink);
    }

    /// The next byte that matters: any in the middle of something, else one that some pattern begins with.
    fn next_start(&mut self, at: usize) -> Option<usize> {
        if self.exact != Place::START || self.wrapped != Place::START {
            return (at < self.held.len()).then_some(at);
        }
        let skipped = self.held[at..]
            .iter()
            .position(|&byte| self.search.starts[usize::from(byte)])?;
        if skipped > 0 {
            self.breaks = 0;
        }
        Some(at + skipped)
    }

    fn step(&mut self, at: usize) {
        let byte = self.held[at];
        self.exact = self.search.exact.next(self.exact, byte);
        let hit = self.search.exact.hit(self.exact);
        if hit > 0 {
            self.cover(at + 1 - hit..at + 1);
        }
        if self.is_break(byte) {
            return;
        }
        self.wrapped = self.search.wrapped.next(self.wrapped, byte);
        let hit = self.search.wrapped.hit(self.wrapped);
        if hit > 0 {
            self.cover(self.start_of(at + 1, hit)..at + 1);
        }
    }

    /// Whether an encoder may have put this byte between two digits: a line break, of one or two bytes.
    fn is_break(&mut self, byte: u8) -> bool {
        if !matches!(byte, b'\r' | b'\n') {
            self.breaks = 0;
            return false;
        }
        self.breaks += 1;
        self.breaks <= 2 && self.wrapped != Place::START
    }

    fn start_of_wrapped(&self, end: usize) -> usize {
        self.start_of(end, self.search.wrapped.depth(self.wrapped))
    }

    /// Where the last `digits` bytes that are no line breaks begin.
    fn start_of(&self, end: usize, mut digits: usize) -> usize {
        let mut at = end;
        while digits > 0 && at > 0 {
            at -= 1;
            digits -= usize::from(!matches!(self.held[at], b'\r' | b'\n'));
        }
        at
    }

    fn cover(&mut self, mut part: Range<usize>) {
        while let Some(last) = self.covers.last().filter(|last| last.end >= part.start) {
            part = last.start.min(part.start)..last.end.max(part.end);
            self.covers.pop();
        }
        self.covers.push(part);
    }

    /// Hands out everything before `end`.
    fn release(&mut self, end: usize, sink: &mut Sink) {
        let mut at = 0;
        for index in 0..self.covers.len() {
            let part = self.covers[index].clone();
            if part.start >= end {
                break;
            }
            self.send(at..part.start, sink);
            if !self.marked {
                sink(self.stream_at(part.start), MARK);
            }
            self.marked = true;
            at = part.end.min(end);
        }
        self.send(at..end, sink);
        self.covers.retain(|c| c.end > end);
        for part in &mut self.covers {
            *part = part.start.saturating_sub(end)..part.end - end;
        }
        self.forget(end);
    }

    fn send(&mut self, part: Range<usize>, sink: &mut Sink) {
        self.marked &= part.is_empty();
        let mut begin = 0;
        for &(stream, length) in &self.runs {
            let (from, to) = (part.start.max(begin), part.end.min(begin + length));
            if from < to {
                sink(stream, &self.held[from..to]);
            }
            begin += length;
        }
    }

    fn stream_at(&self, at: usize) -> Stream {
        let mut end = 0;
        let run = self.runs.iter().find(|(_, length)| {
            end += length;
            at < end
        });
        run.expect("runs cover all that is held").0
    }

    fn forget(&mut self, mut count: usize) {
        self.held.drain(..count);
        let mut gone = 0;
        for (_, length) in &mut self.runs {
            let part = count.min(*length);
            *length -= part;
            count -= part;
            gone += usize::from(*length == 0);
        }
        self.runs.drain(..gone);
    }

    fn finish(&mut self, sink: &mut Sink) {
        let end = self.held.len();
        let exact = self.search.exact.depth(self.exact);
        if exact >= CUT_BYTES_MIN {
            self.cover(end - exact..end);
        }
        if self.search.wrapped.depth(self.wrapped) >= CUT_BYTES_MIN {
            self.cover(self.start_of_wrapped(end)..end);
        }
        self.release(end, sink);
    }
}

#[cfg(test)]
mod tests;
