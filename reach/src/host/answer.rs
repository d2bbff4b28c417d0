//! Reading a toolkit's answers: JSON lines out of a stream that login scripts may have written into before.

use crds::journal::Line;

use super::lines::{self, Lines};
use crate::ssh::{self, Chunk, Exchange, Exit};

/// Most of a complaint that is kept.
const COMPLAINT: usize = 4096;

/// What the host says first.
#[derive(Debug)]
pub(super) enum Opening {
    Answering,
    Absent,
    Unsafe(String),
    /// It ended without an answer; what it wrote instead. The toolkit was never run.
    Complaint(String),
    /// The toolkit was run, and ended without an answer.
    Died(String),
}

/// The lines of one exchange.
pub(super) struct Answers {
    exchange: Exchange,
    lines: Lines,
    first: Option<Line>,
    stderr: Vec<u8>,
}

impl Answers {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            lines: Lines::default(),
            first: None,
            stderr: Vec::new(),
        }
    }

    /// Reads up to the first answer. An error means that the connection broke.
    pub(super) async fn open(&mut self) -> Result<Opening, ssh::Error> {
        let (mut noise, mut running) = (String::new(), false);
        while let Some(line) = self.line().await? {
            if line == "pilothouse:absent" {
                return Ok(Opening::Absent);
            }
            if line == "pilothouse:running" {
                running = true;
                continue;
            }
            if let Some(why) = line.strip_prefix("pilothouse:unsafe") {
                return Ok(Opening::Unsafe(why.trim().to_owned()));
            }
            if let Ok(first) = lines::answer(&line) {
                self.first = Some(first);
                return Ok(Opening::Answering);
            }
            if noise.len() + line.len() < COMPLAINT {
                noise.push_str(&line);
                noise.push('\n');
            }
        }
        let stderr = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        let mut complaint = [stderr, noise].join("\n").trim().to_owned();
        if complaint.is_empty() {
            complaint = match self.exchange.exit() {
                Some(Exit::Code(code)) => format!("it ended with code {code} and no answer"),
                Some(Exit::Signal(signal)) => format!("it was ended by {signal} without an answer"),
                None => "it ended without an answer".to_owned(),
            };
        }
        // A shell that finds no way to run the toolkit says so with these codes.
        let unrun = matches!(self.exchange.exit(), Some(Exit::Code(126 | 127)));
        Ok(if running && !unrun {
            Opening::Died(complaint)
        } else {
            Opening::Complaint(complaint)
        })
    }

    /// The next answer; `None` when the stream ended, `Err(text)` inside for what is no answer.
    pub(super) async fn next(&mut self) -> Result<Option<Result<Line, String>>, ssh::Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(Ok(first)));
        }
        let line = self.line().await?;
        Ok(line.map(|line| lines::answer(&line)))
    }

    async fn line(&mut self) -> Result<Option<String>, ssh::Error> {
        loop {
            if let Some(line) = self.lines.line() {
                return Ok(Some(line));
            }
            if self.lines.is_overlong() {
                return Ok(None);
            }
            match self.exchange.next().await? {
                Some(Chunk::Stdout(bytes)) => self.lines.push(&bytes),
                Some(Chunk::Stderr(bytes)) => {
                    let room = COMPLAINT - self.stderr.len();
                    self.stderr
                        .extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                None => return Ok(None),
            }
        }
    }
}
