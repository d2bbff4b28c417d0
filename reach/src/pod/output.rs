//! What a command or a pod wrote, on its way to where it is stored: masked first, then bounded as the run journal bounds it. The first half and the last half of what may be kept are kept, the rest is counted.

use std::collections::VecDeque;

use bytes::Bytes;
use crds::{
    journal::Stream,
    mask::{self, Masks, Unmaskable},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc;

/// Largest piece handed on at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A piece of masked output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Position of the first byte in the whole masked output; a gap is output that was dropped.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
}

/// Where pieces go. A full channel slows the writer down; a closed one loses nothing but the pieces.
pub type Sink = mpsc::Sender<Piece>;

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Bytes of masked output, kept and dropped together.
    pub output_bytes: u64,
    /// Bytes of it that were not kept.
    pub dropped_bytes: u64,
}

/// Takes raw output, hands on masked pieces.
pub struct Recorder {
    masks: Masks,
    kept: Kept,
    /// Where the caller's knowledge ends; nothing before it is handed on again.
    resume_from: u64,
    sink: Sink,
}

impl Recorder {
    /// Keeps `keep_bytes` of the output, hides every one of `mask` in it, and hands on what lies at `resume_from` and after.
    pub fn new(
        mask: &[SecretString],
        keep_bytes: usize,
        resume_from: u64,
        sink: Sink,
    ) -> Result<Self, Unmaskable> {
        let secrets = || mask.iter().map(SecretString::expose_secret);
        mask::check(secrets())?;
        Ok(Self {
            masks: Masks::new(secrets()),
            kept: Kept::new(keep_bytes),
            resume_from,
            sink,
        })
    }

    /// Takes what came next on a stream.
    pub async fn record(&mut self, stream: Stream, raw: &[u8]) {
        let mut masked = Vec::with_capacity(raw.len());
        self.masks
            .push(stream, raw, &mut |_, part| masked.extend_from_slice(part));
        self.keep(&masked).await;
    }

    /// Hands on everything held back until now.
    pub async fn finish(mut self) -> Volume {
        let mut rest = Vec::new();
        self.masks
            .finish(&mut |_, part| rest.extend_from_slice(part));
        self.keep(&rest).await;
        let (volume, tail) = self.kept.finish();
        if let Some(tail) = tail {
            Self::hand_on(&self.sink, self.resume_from, tail).await;
        }
        volume
    }

    /// A text for people, without secrets.
    pub(super) fn masked(&self, text: &str) -> String {
        let (mut masks, mut masked) = (self.masks.anew(), Vec::new());
        masks.push(Stream::Stderr, text.as_bytes(), &mut |_, part| {
            masked.extend_from_slice(part);
        });
        masks.finish(&mut |_, part| masked.extend_from_slice(part));
        String::from_utf8_lossy(&masked).into_owned()
    }

    async fn keep(&mut self, masked: &[u8]) {
        if let Some(piece) = self.kept.push(masked) {
            Self::hand_on(&self.sink, self.resume_from, piece).await;
        }
    }

    async fn hand_on(sink: &Sink, resume_from: u64, mut piece: Piece) {
        let known = resume_from.saturating_sub(piece.offset);
        let known = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(piece.data.len());
        piece.offset += known as u64;
        drop(piece.data.split_to(known));
        while !piece.data.is_empty() {
            let data = piece.data.split_to(piece.data.len().min(PIECE_BYTES));
            let offset = piece.offset;
            piece.offset += data.len() as u64;
            if sink.send(Piece { offset, data }).await.is_err() {
                return;
            }
        }
    }
}

/// The first and the last bytes of an output of any length.
struct Kept {
    head_left: usize,
    tail: VecDeque<u8>,
    tail_most: usize,
    total: u64,
    dropped: u64,
}

impl Kept {
    fn new(keep_bytes: usize) -> Self {
        let head = keep_bytes / 2;
        Self {
            head_left: head,
            tail: VecDeque::new(),
            tail_most: keep_bytes - head,
            total: 0,
            dropped: 0,
        }
    }

    /// Takes the next bytes; what belongs to the head comes back at once.
    fn push(&mut self, bytes: &[u8]) -> Option<Piece> {
        let offset = self.total;
        self.total += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(self.head_left));
        self.head_left -= head.len();
        let passed_over = rest.len().saturating_sub(self.tail_most);
        let overflow = (self.tail.len() + rest.len() - passed_over).saturating_sub(self.tail_most);
        self.tail.drain(..overflow);
        self.tail.extend(&rest[passed_over..]);
        self.dropped += (passed_over + overflow) as u64;
        (!head.is_empty()).then(|| Piece {
            offset,
            data: Bytes::copy_from_slice(head),
        })
    }

    fn finish(self) -> (Volume, Option<Piece>) {
        let volume = Volume {
            output_bytes: self.total,
            dropped_bytes: self.dropped,
        };
        let offset = self.total - self.tail.len() as u64;
        let data = Bytes::from(Vec::from(self.tail));
        (volume, (!data.is_empty()).then_some(Piece { offset, data }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, Piece, Recorder, Unmaskable, Volume};
    use bytes::Bytes;
    use crds::journal::{SECRET_BYTES_TOTAL, Stream};
    use secrecy::SecretString;
    use tokio::sync::mpsc;

    fn piece(offset: u64, data: &'static str) -> Piece {
        Piece {
            offset,
            data: Bytes::from_static(data.as_bytes()),
        }
    }

    #[test]
    fn the_first_and_the_last_bytes_are_kept_whatever_the_writes_were() {
        for step in 1..=10 {
            let mut kept = Kept::new(6);
            let mut head = Vec::new();
            for write in b"0123456789".chunks(step) {
                head.extend(kept.push(write).map(|p| p.data).unwrap_or_default());
            }
            assert_eq!(head, b"012", "{step}");
            let (volume, tail) = kept.finish();
            assert_eq!(
                volume,
                Volume {
                    output_bytes: 10,
                    dropped_bytes: 4
                },
                "{step}"
            );
            assert_eq!(tail, Some(piece(7, "789")), "{step}");
        }
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let mut kept = Kept::new(6);
        assert_eq!(kept.push(b"01234"), Some(piece(0, "012")));
        let (volume, tail) = kept.finish();
        assert_eq!(
            volume,
            Volume {
                output_bytes: 5,
                dropped_bytes: 0
            }
        );
        assert_eq!(tail, Some(piece(3, "34")));
    }

    #[tokio::test]
    async fn each_stream_is_masked_and_what_is_known_is_not_sent_again() {
        let (sink, mut pieces) = mpsc::channel(16);
        let secrets = [SecretString::from("hunter22")];
        let mut recorder = Recorder::new(&secrets, 1 << 20, 2, sink).expect("recorder");
        recorder.record(Stream::Stdout, b"ab hun").await;
        recorder.record(Stream::Stderr, b"+ ls ?\n").await;
        recorder.record(Stream::Stdout, b"ter22.").await;
        assert_eq!(recorder.masked("no hunter22 here"), "no *** here");
        let volume = recorder.finish().await;
        let mut text = Vec::new();
        while let Some(piece) = pieces.recv().await {
            assert_eq!(piece.offset, 2 + text.len() as u64);
            text.extend(piece.data);
        }
        assert_eq!(String::from_utf8_lossy(&text), " + ls ?\n***.");
        assert_eq!(
            volume,
            Volume {
                output_bytes: 14,
                dropped_bytes: 0
            }
        );
    }

    #[tokio::test]
    async fn what_can_not_be_hidden_is_refused() {
        let recorder = |secret: &str| {
            Recorder::new(&[SecretString::from(secret)], 1, 0, mpsc::channel(1).0).err()
        };
        assert_eq!(recorder("abc "), Some(Unmaskable::TooShort { index: 0 }));
        let bytes = SECRET_BYTES_TOTAL + 1;
        let much = "x".repeat(bytes);
        assert_eq!(recorder(&much), Some(Unmaskable::TooMuch { bytes }));
        assert_eq!(recorder(" "), None, "a blank one hides nothing");
    }

    #[tokio::test]
    async fn nobody_listening_is_no_error() {
        let (sink, pieces) = mpsc::channel(1);
        drop(pieces);
        let mut recorder = Recorder::new(&[], 4, 0, sink).expect("recorder");
        recorder.record(Stream::Stdout, b"0123456789").await;
        assert_eq!(
            recorder.finish().await,
            Volume {
                output_bytes: 10,
                dropped_bytes: 6
            }
        );
    }
}
