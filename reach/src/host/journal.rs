//! Work over a host's journal: an effect is started once under its key, followed to its end, and found again when the connection breaks.

use std::time::Duration;

use bytes::Bytes;
use crds::journal::{End, Forgotten, KeyRequest, Line, Request};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Error, Outcome, Progress, Sink, Toolkit, answer::Answers, toolkit::Asked};
use crate::ssh::{self, Fleet, Target};

/// How long a host is sought.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Until the effect is started.
    pub delivery: Duration,
    /// Until the host is found again when the connection broke.
    pub reattach: Duration,
}

/// First and longest wait between two attempts to find a host again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How one connection's worth of following ended.
enum Followed {
    Ended(End),
    Broken(ssh::Error),
}

/// Starts the effect, or attaches to it, and follows it to its end. Calling it twice with the same key is calling it once.
pub async fn run(
    fleet: &Fleet,
    toolkit: &Toolkit,
    target: &Target,
    request: &Request,
    windows: Windows,
    sink: &Sink,
) -> Result<Outcome, Error> {
    let mut following = Following {
        request: request.clone(),
        started: false,
        news: false,
        sink,
    };
    let mut deadline = Instant::now() + windows.delivery;
    let (mut pause, mut sent) = (FIRST_PAUSE, false);
    loop {
        let body = json_line(&following.request);
        let cause = match toolkit.ask(fleet, target, "exec", body, deadline).await {
            Ok(Asked::Answers(answers)) => match following.follow(answers, target).await? {
                Followed::Ended(end) => return Ok(Outcome::Ended(end)),
                Followed::Broken(cause) => {
                    // Only news starts the wait anew, so that a host that always breaks off is given up in the end.
                    if following.heard() {
                        (deadline, pause) = (Instant::now() + windows.reattach, FIRST_PAUSE);
                    }
                    cause
                }
            },
            Ok(Asked::Lost(cause)) => cause,
            // Once a request was sent, silence no longer means that nothing was started.
            Err(Error::Delivery { source, .. }) if sent => source,
            Err(error) => return Err(error),
        };
        sent = true;
        if Instant::now() + pause >= deadline || !cause.is_passing() {
            return Ok(Outcome::Detached {
                started: following.started,
                cause,
            });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// An effect that is being followed, over as many connections as it takes.
struct Following<'a> {
    request: Request,
    started: bool,
    /// Something was heard that had not been heard before.
    news: bool,
    sink: &'a Sink,
}

impl Following<'_> {
    fn heard(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    async fn follow(&mut self, mut answers: Answers, target: &Target) -> Result<Followed, Error> {
        loop {
            let line = match answers.next().await {
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(message))) => {
                    return Err(Error::NotUnderstood {
                        address: target.endpoint(),
                        message,
                    });
                }
                Ok(None) => {
                    return Ok(Followed::Broken(ssh::Error::ConnectionLost {
                        address: target.endpoint(),
                    }));
                }
                Err(cause) => return Ok(Followed::Broken(cause)),
            };
            match line {
                Line::Started(started) => {
                    // Later attachments tell the same beginning again.
                    if !std::mem::replace(&mut self.started, true) {
                        self.news = true;
                        let _ = self.sink.send(Progress::Started(started)).await;
                    }
                }
                Line::Output(output) => self.pass(output).await,
                Line::End(end) => return Ok(Followed::Ended(end)),
                Line::Refused(refused) => {
                    return Err(Error::Refused {
                        address: target.endpoint(),
                        refused,
                    });
                }
                Line::Forgotten(_) => {}
            }
        }
    }

    /// Hands on what was not handed on before.
    async fn pass(&mut self, mut output: crds::journal::Output) {
        let next = self.request.resume_from;
        let known = usize::try_from(next.saturating_sub(output.offset)).unwrap_or(usize::MAX);
        if known >= output.data.len() {
            return;
        }
        output.data.drain(..known);
        output.offset = output.offset.max(next);
        self.request.resume_from = output.offset + output.data.len() as u64;
        self.news = true;
        let _ = self.sink.send(Progress::Output(output)).await;
    }
}

/// Ends the effect on the host, or keeps it from ever beginning.
pub async fn cancel(
    fleet: &Fleet,
    toolkit: &Toolkit,
    target: &Target,
    key: &KeyRequest,
    patience: Duration,
) -> Result<End, Error> {
    match answer(fleet, toolkit, target, "cancel", key, patience).await? {
        Line::End(end) => Ok(end),
        other => Err(unexpected(target, &other)),
    }
}

/// Tells the host that the result is safe elsewhere, so that its journal may be swept.
pub async fn forget(
    fleet: &Fleet,
    toolkit: &Toolkit,
    target: &Target,
    key: &KeyRequest,
    patience: Duration,
) -> Result<Forgotten, Error> {
    match answer(fleet, toolkit, target, "forget", key, patience).await? {
        Line::Forgotten(forgotten) => Ok(forgotten),
        other => Err(unexpected(target, &other)),
    }
}

/// Both verbs may be repeated, so a broken connection is simply tried again.
async fn answer(
    fleet: &Fleet,
    toolkit: &Toolkit,
    target: &Target,
    verb: &str,
    key: &KeyRequest,
    patience: Duration,
) -> Result<Line, Error> {
    let deadline = Instant::now() + patience;
    loop {
        let cause = match toolkit
            .ask(fleet, target, verb, json_line(key), deadline)
            .await?
        {
            Asked::Lost(cause) => cause,
            Asked::Answers(mut answers) => match answers.next().await {
                Ok(Some(Ok(Line::Refused(refused)))) => {
                    return Err(Error::Refused {
                        address: target.endpoint(),
                        refused,
                    });
                }
                Ok(Some(Ok(line))) => return Ok(line),
                Ok(Some(Err(message))) => {
                    return Err(Error::NotUnderstood {
                        address: target.endpoint(),
                        message,
                    });
                }
                Ok(None) => ssh::Error::ConnectionLost {
                    address: target.endpoint(),
                },
                Err(cause) => cause,
            },
        };
        if Instant::now() >= deadline {
            return Err(Error::Delivery {
                address: target.endpoint(),
                source: cause,
            });
        }
    }
}

fn unexpected(target: &Target, line: &Line) -> Error {
    Error::NotUnderstood {
        address: target.endpoint(),
        message: format!("{line:?}"),
    }
}

/// A request as the toolkit reads it: one line.
fn json_line(request: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(request).expect("requests are plain data");
    line.push(b'\n');
    line.into()
}
