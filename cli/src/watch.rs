//! Watching a run until it ends: a table that is drawn again on a terminal, a line a change elsewhere.

use std::time::Duration;

use crds::v1alpha1::JobRun;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use kube::{
    ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher, watcher::watch_object},
};

use crate::{
    cluster::Cluster,
    error::{Error, Result},
    outcome::Outcome,
    output::{self, Format},
    progress, terminal,
};

/// Failures in a row after which the watch is given up.
const TRIES: u32 = 10;

pub async fn watch(cluster: &Cluster, name: &str, format: Option<Format>) -> Result<u8> {
    let run = until_end(cluster, name, format).await?;
    if !Format::is_for_people(format) {
        output::result(
            &run,
            format,
            &format!("jobrun.pilothouse.dev/{name}"),
            |_| String::new(),
        )?;
    }
    Ok(Outcome::of(&run).map_or(0, Outcome::code))
}

/// Shows the run until it has ended; nothing is shown where a program reads the result.
async fn until_end(cluster: &Cluster, name: &str, format: Option<Format>) -> Result<JobRun> {
    let mut run = cluster.run(name).await?;
    let mut changes = std::pin::pin!(changes(cluster, &run));
    let mut screen = Screen::new(format);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        screen.show(&run)?;
        if Outcome::of(&run).is_some() {
            return Ok(run);
        }
        tokio::select! {
            change = changes.next() => run = change.expect("a watch never ends by itself")?,
            _ = tick.tick(), if screen.is_live() => {}
        }
    }
}

/// The run each time it changes. Short absences of the API server are sat out.
pub fn changes(cluster: &Cluster, run: &JobRun) -> impl Stream<Item = Result<JobRun>> + use<> {
    let (name, uid) = (run.name_any(), run.uid());
    let mut failures = 0;
    let objects = watch_object(cluster.api::<JobRun>(), &name).default_backoff();
    objects.filter_map(move |change| {
        let told = match change {
            Ok(Some(run)) if run.uid() == uid => {
                failures = 0;
                Some(Ok(run))
            }
            Ok(_) => Some(Err(Error::Deleted(name.clone()))),
            Err(error) => {
                failures += 1;
                lasting(failures, &error).then(|| {
                    Err(Error::Watch {
                        what: format!("JobRun {name}"),
                        source: Box::new(error),
                    })
                })
            }
        };
        std::future::ready(told)
    })
}

/// Whether a watch that failed is not worth another try.
pub fn lasting(failures: u32, error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(e)
        | watcher::Error::WatchStartFailed(e)
        | watcher::Error::WatchFailed(e) => crate::error::status(e),
        _ => None,
    };
    failures >= TRIES || matches!(code, Some(401 | 403 | 404))
}

/// What was drawn last.
enum Screen {
    Live { lines: usize },
    Lines { last: String },
    Silent,
}

impl Screen {
    fn new(format: Option<Format>) -> Self {
        match Format::is_for_people(format) {
            false => Self::Silent,
            true if terminal::is_terminal() => Self::Live { lines: 0 },
            true => Self::Lines {
                last: String::new(),
            },
        }
    }

    const fn is_live(&self) -> bool {
        matches!(self, Self::Live { .. })
    }

    fn show(&mut self, run: &JobRun) -> Result<()> {
        match self {
            Self::Silent => Ok(()),
            Self::Live { lines } => {
                let ended = Outcome::of(run).is_some();
                let frame = redraw(
                    *lines,
                    &progress::frame(run, Timestamp::now()),
                    if ended { usize::MAX } else { terminal::rows() },
                );
                *lines = frame.matches('\n').count();
                output::bytes(frame.as_bytes())
            }
            Self::Lines { last } => {
                let line = progress::line(run);
                if line == *last {
                    return Ok(());
                }
                let now = Timestamp::now();
                output::text(&format!("{} {line}\n", now.strftime("%H:%M:%SZ")))?;
                *last = line;
                Ok(())
            }
        }
    }
}

/// The frame in place of the one before. Lines are cut at the edge, not wrapped, so that the cursor finds its way back; what is higher than the screen is cut as well.
fn redraw(before: usize, frame: &str, rows: usize) -> String {
    let up = if before > 0 {
        format!("\u{1b}[{before}A")
    } else {
        String::new()
    };
    let frame = terminal::clean(frame);
    let shown: String = frame
        .lines()
        .take(rows.saturating_sub(1))
        .map(|line| format!("{line}\n"))
        .collect();
    format!("{up}\r\u{1b}[J\u{1b}[?7l{shown}\u{1b}[?7h")
}

#[cfg(test)]
mod tests {
    use super::redraw;

    #[test]
    fn a_frame_replaces_the_one_before_and_fits_the_screen() {
        assert_eq!(
            redraw(0, "a\nb\n", 24),
            "\r\u{1b}[J\u{1b}[?7la\nb\n\u{1b}[?7h"
        );
        assert!(redraw(2, "a\n", 24).starts_with("\u{1b}[2A\r"));
        assert_eq!(redraw(0, "a\nb\nc\nd\n", 3).matches('\n').count(), 2);
    }

    #[test]
    fn what_a_run_says_cannot_move_the_cursor() {
        assert!(!redraw(0, "x\u{1b}[9Ay\n", 24).contains("[9A"));
    }
}
