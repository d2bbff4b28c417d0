//! Keeps the first half and the last half of what is allowed, counts the rest, and never fails: what can not be written is counted as dropped.
//!
//! The file is a row of frames: stream (1 byte), length (4, little-endian), offset (8, little-endian), data. The first half is written as it comes, the last half
//! waits in memory and is written at the end. A frame that is not whole is the end of the file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crds::journal::{Output, Stream};

use crate::error::{Error, Step as _};

const HEADER: usize = 13;
/// Most data of one frame.
const FRAME: usize = 64 << 10;

/// Writes the output of a run.
pub struct Recorder {
    file: File,
    end: u64,
    /// Nothing more can be written.
    closed: bool,
    /// Bytes of masked output so far.
    position: u64,
    dropped: u64,
    head: u64,
    /// The part of the first half that is not yet written, and where it belongs.
    pending: Vec<u8>,
    pending_stream: Stream,
    tail: VecDeque<u8>,
    tail_runs: VecDeque<(Stream, usize)>,
    tail_bytes: usize,
}

/// What a run put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub bytes: u64,
    pub dropped: u64,
}

impl Recorder {
    pub fn new(file: File, keep: u64) -> Self {
        let tail_bytes = usize::try_from(keep / 2).expect("the request bounds what is kept");
        Self {
            file,
            end: 0,
            closed: false,
            position: 0,
            dropped: 0,
            head: keep - keep / 2,
            pending: Vec::new(),
            pending_stream: Stream::Stdout,
            tail: VecDeque::new(),
            tail_runs: VecDeque::new(),
            tail_bytes,
        }
    }

    pub fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let room = usize::try_from(self.head.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let (head, tail) = bytes.split_at(room.min(bytes.len()));
        if self.pending_stream != stream {
            self.flush();
        }
        self.pending_stream = stream;
        for part in head.chunks(FRAME) {
            if self.pending.len() + part.len() > FRAME {
                self.flush();
            }
            self.pending.extend_from_slice(part);
            self.position += part.len() as u64;
        }
        self.push_tail(stream, tail);
    }

    fn push_tail(&mut self, stream: Stream, bytes: &[u8]) {
        self.position += bytes.len() as u64;
        let excess = bytes.len().saturating_sub(self.tail_bytes);
        self.dropped += excess as u64;
        let bytes = &bytes[excess..];
        if bytes.is_empty() {
            return;
        }
        let over = (self.tail.len() + bytes.len()).saturating_sub(self.tail_bytes);
        self.forget(over);
        self.tail.extend(bytes);
        match self.tail_runs.back_mut() {
            Some((last, length)) if *last == stream => *length += bytes.len(),
            _ => self.tail_runs.push_back((stream, bytes.len())),
        }
    }

    fn forget(&mut self, mut count: usize) {
        self.dropped += count as u64;
        self.tail.drain(..count);
        while count > 0 {
            let (_, length) = self.tail_runs.front_mut().expect("runs cover the tail");
            let part = count.min(*length);
            *length -= part;
            count -= part;
            if *length == 0 {
                self.tail_runs.pop_front();
            }
        }
    }

    /// Whether something waits to be written for those who follow.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what waits.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let data = std::mem::take(&mut self.pending);
        let head_position = self.position.min(self.head);
        self.write(
            self.pending_stream,
            head_position - data.len() as u64,
            &data,
        );
        self.pending = data;
        self.pending.clear();
    }

    fn write(&mut self, stream: Stream, offset: u64, data: &[u8]) {
        if self.closed {
            self.dropped += data.len() as u64;
            return;
        }
        let mut frame = Vec::with_capacity(HEADER + data.len());
        frame.push(u8::from(stream == Stream::Stderr));
        frame.extend_from_slice(
            &u32::try_from(data.len())
                .expect("frames are small")
                .to_le_bytes(),
        );
        frame.extend_from_slice(&offset.to_le_bytes());
        frame.extend_from_slice(data);
        if self.file.write_all_at(&frame, self.end).is_ok() {
            self.end += frame.len() as u64;
            return;
        }
        self.dropped += data.len() as u64;
        // The part that got through must not stand behind the next frame.
        self.closed = self.file.set_len(self.end).is_err();
    }

    /// Writes the last half, and puts everything on disk.
    pub fn finish(mut self) -> (Counts, io::Result<()>) {
        self.flush();
        let mut offset = self.position - self.tail.len() as u64;
        let data: Vec<u8> = std::mem::take(&mut self.tail).into();
        let mut rest = data.as_slice();
        for (stream, length) in std::mem::take(&mut self.tail_runs) {
            let (run, later) = rest.split_at(length);
            for part in run.chunks(FRAME) {
                self.write(stream, offset, part);
                offset += part.len() as u64;
            }
            rest = later;
        }
        let synced = self
            .file
            .set_len(self.end)
            .and_then(|()| self.file.sync_data());
        (
            Counts {
                bytes: self.position,
                dropped: self.dropped,
            },
            synced,
        )
    }
}

/// Reads the frames of a run that may still be going on.
pub struct Reader {
    file: File,
    at: u64,
}

impl Reader {
    pub fn new(file: File) -> Self {
        Self { file, at: 0 }
    }

    /// The next frame, if it is there already.
    pub fn frame(&mut self) -> Result<Option<Output>, Error> {
        let Some(header) = self.bytes(self.at, HEADER)? else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(header[1..5].try_into().expect("4 bytes")) as usize;
        if header[0] > 1 || length > FRAME {
            return Err(Error::Damaged("its output is not what this version writes"));
        }
        let Some(data) = self.bytes(self.at + HEADER as u64, length)? else {
            return Ok(None);
        };
        self.at += (HEADER + length) as u64;
        let stream = if header[0] == 1 {
            Stream::Stderr
        } else {
            Stream::Stdout
        };
        let offset = u64::from_le_bytes(header[5..].try_into().expect("8 bytes"));
        Ok(Some(Output {
            offset,
            stream,
            data,
        }))
    }

    fn bytes(&self, at: u64, count: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = vec![0; count];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e).reading("read the output"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use crds::journal::Stream::{self, Stderr, Stdout};

    use super::{Counts, Reader, Recorder};

    fn kept(keep: u64, writes: &[(Stream, &[u8])]) -> (Counts, Vec<(u64, Stream, String)>) {
        let file = tempfile::NamedTempFile::new().expect("file");
        let mut recorder = Recorder::new(file.reopen().expect("open"), keep);
        for (stream, bytes) in writes {
            recorder.push(*stream, bytes);
        }
        let (counts, synced) = recorder.finish();
        synced.expect("sync");
        let mut reader = Reader::new(file.reopen().expect("open"));
        let mut frames = Vec::new();
        while let Some(frame) = reader.frame().expect("frame") {
            frames.push((
                frame.offset,
                frame.stream,
                String::from_utf8(frame.data).expect("utf-8"),
            ));
        }
        (counts, frames)
    }

    #[test]
    fn the_first_and_the_last_half_are_kept() {
        let (counts, frames) = kept(
            8,
            &[
                (Stdout, b"abc"),
                (Stderr, b"defgh"),
                (Stdout, b"ijklmno"),
                (Stderr, b"p"),
            ],
        );
        assert_eq!(
            counts,
            Counts {
                bytes: 16,
                dropped: 8
            }
        );
        let expected = [
            (0, Stdout, "abc"),
            (3, Stderr, "d"),
            (12, Stdout, "mno"),
            (15, Stderr, "p"),
        ];
        assert_eq!(
            frames,
            expected.map(|(offset, stream, text)| (offset, stream, text.to_owned()))
        );
    }

    #[test]
    fn all_is_kept_up_to_the_last_byte() {
        let (counts, frames) = kept(7, &[(Stdout, b"abcdefg")]);
        assert_eq!(
            counts,
            Counts {
                bytes: 7,
                dropped: 0
            }
        );
        assert_eq!(
            frames.into_iter().map(|f| f.2).collect::<String>(),
            "abcdefg"
        );
        assert_eq!(
            kept(0, &[(Stdout, b"abc")]),
            (
                Counts {
                    bytes: 3,
                    dropped: 3
                },
                vec![]
            )
        );
    }

    #[test]
    fn what_can_not_be_written_is_counted() {
        let full = File::options().write(true).open("/dev/full").expect("open");
        let mut recorder = Recorder::new(full, 100);
        recorder.push(Stdout, &[b'x'; 60]);
        recorder.push(Stderr, &[b'y'; 80]);
        assert_eq!(
            recorder.finish().0,
            Counts {
                bytes: 140,
                dropped: 140
            }
        );
    }
}
