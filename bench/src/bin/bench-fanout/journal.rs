//! What a host with a toolkit answers, without running anything: an effect is begun once under its key, tells a line of output, and ends with exit 0.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use crds::journal::{
    End, EndReason, Forgotten, KeyRequest, Line, Output, Request, Started, Stream,
};
use jiff::Timestamp;

/// What a host is asked for, as far as it can be told from the command.
#[derive(Clone, Copy)]
pub enum Verb {
    Facts,
    Exec,
    Forget,
}

impl Verb {
    pub fn of(command: &[u8]) -> Option<Self> {
        let says = |part: &str| command.windows(part.len()).any(|w| w == part.as_bytes());
        if says("machineID") {
            return Some(Self::Facts);
        }
        let runs = |verb: &str| says(&format!("/proc/self/fd/9 {verb}"));
        runs("exec")
            .then_some(Self::Exec)
            .or_else(|| runs("forget").then_some(Self::Forget))
    }
}

/// Effects that were begun, and when, of all hosts.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<HashMap<String, Timestamp>>>);

impl Journal {
    /// The whole answer to a request line.
    pub fn answer(&self, verb: Verb, host: IpAddr, asked: &[u8]) -> serde_json::Result<Vec<u8>> {
        let lines = match verb {
            Verb::Facts => return Ok(facts(host)),
            Verb::Exec => self.exec(&serde_json::from_slice(asked)?, host),
            Verb::Forget => self.forget(&serde_json::from_slice(asked)?),
        };
        let mut answer = b"pilothouse:running\n".to_vec();
        for line in lines {
            serde_json::to_writer(&mut answer, &line)?;
            answer.push(b'\n');
        }
        Ok(answer)
    }

    fn exec(&self, request: &Request, host: IpAddr) -> Vec<Line> {
        let now = Timestamp::now();
        let mut begun = self.0.lock().expect("no holder panics");
        let known = begun.insert(request.key.digest(), now);
        let data = format!("done on {host}\n").into_bytes();
        let end = End {
            reason: EndReason::Exited,
            exit_code: Some(0),
            signal: None,
            message: String::new(),
            started_at: Some(now),
            finished_at: now,
            output_bytes: data.len() as u64,
            dropped_bytes: 0,
        };
        vec![
            Line::Started(Started {
                at: now,
                attached: known.is_some(),
            }),
            Line::Output(Output {
                offset: 0,
                stream: Stream::Stdout,
                data,
            }),
            Line::End(end),
        ]
    }

    fn forget(&self, request: &KeyRequest) -> Vec<Line> {
        let mut begun = self.0.lock().expect("no holder panics");
        let known = begun.remove(&request.key.digest()).is_some();
        vec![Line::Forgotten(Forgotten { known })]
    }
}

/// Each address is a machine of its own.
fn facts(host: IpAddr) -> Vec<u8> {
    format!(
        "os=Light\nkernel=1\narch=x86_64\nbootID={host}\nmachineID={host}\ncpus=1\nmemoryKiB=1\n"
    )
    .into_bytes()
}
