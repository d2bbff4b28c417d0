//! What a host sends, as lines and as answers: bounded, in whatever pieces it comes, and checked before anybody counts with it.

use crds::{bytes, journal::Line};

/// Longest line, and most noise before the first one.
const LINE_BYTES: usize = 4 << 20;

/// A stream that comes in pieces, line by line.
#[derive(Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes at the start of the buffer that are read already.
    done: usize,
    /// Bytes at the start of the buffer in which no further line ends.
    searched: usize,
}

impl Lines {
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.done);
        self.searched -= self.done;
        self.done = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// The next line that is whole.
    pub fn line(&mut self) -> Option<String> {
        let rest = &self.buffer[self.searched..];
        let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + at;
        let line = String::from_utf8_lossy(&self.buffer[self.done..end])
            .trim_end()
            .to_owned();
        self.done = end + 1;
        self.searched = self.done;
        Some(line)
    }

    /// Whether what is there is longer than a line may be, and has no end.
    pub fn is_overlong(&self) -> bool {
        self.searched - self.done > LINE_BYTES
    }
}

/// What a line says, or why it is no answer.
pub fn answer(line: &str) -> Result<Line, String> {
    let line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    match &line {
        Line::Output(output) if bytes::end(output.offset, &output.data).is_none() => Err(format!(
            "output at offset {} reaches beyond what can be counted",
            output.offset
        )),
        _ => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn output_that_nobody_could_count_is_no_answer() {
        let output = |offset: u64| {
            format!(r#"{{"output":{{"offset":{offset},"stream":"stdout","data":"aGkK"}}}}"#)
        };
        let last = i64::MAX.unsigned_abs() - 3;
        answer(&output(last)).expect("the last place there is");
        for offset in [last + 1, u64::MAX] {
            let refused = answer(&output(offset)).expect_err("beyond it");
            assert!(refused.contains("beyond"), "{refused}");
        }
    }
}
