//! What every bench prints: a table of what was measured beside its goals and, as the last line, the same as JSON.

pub mod seen;
pub mod stage;

use std::{error::Error, fs, io};

use serde::Serialize;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// One measured thing beside its goal.
#[derive(Serialize)]
pub struct Row {
    pub metric: &'static str,
    pub unit: &'static str,
    pub ours: f64,
    pub peer: Option<String>,
    pub peer_value: Option<f64>,
    pub goal: String,
    pub met: bool,
}

impl Row {
    /// A row whose goal is a figure, not a peer.
    pub fn alone(
        metric: &'static str,
        unit: &'static str,
        ours: f64,
        goal: &str,
        met: bool,
    ) -> Self {
        Self {
            metric,
            unit,
            ours,
            peer: None,
            peer_value: None,
            goal: goal.to_owned(),
            met,
        }
    }

    /// A row that has to stay at or under a figure.
    pub fn at_most(metric: &'static str, unit: &'static str, ours: f64, most: f64) -> Self {
        Self::alone(metric, unit, ours, &format!("<= {most}"), ours <= most)
    }
}

/// The rows of one bench.
pub struct Report {
    bench: &'static str,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Json<'a> {
    bench: &'static str,
    rows: &'a [Row],
    load: f64,
}

impl Report {
    pub const fn of(bench: &'static str) -> Self {
        Self {
            bench,
            rows: Vec::new(),
        }
    }

    /// Adds a row and prints it.
    pub fn push(&mut self, row: Row) {
        let peer = match (&row.peer, row.peer_value) {
            (Some(peer), Some(value)) => format!("{value:.2} ({peer})"),
            _ => "-".to_owned(),
        };
        let met = if row.met { "met" } else { "NOT MET" };
        println!(
            "{:<56} {:>9.2} {:<6} {:<28} {:<28} {met}",
            row.metric, row.ours, row.unit, peer, row.goal
        );
        self.rows.push(row);
    }

    /// Prints the JSON; an error where a goal was not met.
    pub fn finish(self) -> Result<()> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let minute = load.split(' ').next().unwrap_or_default();
        let json = Json {
            bench: self.bench,
            rows: &self.rows,
            load: minute.parse().map_err(io::Error::other)?,
        };
        println!("{}", serde_json::to_string(&json)?);
        if self.rows.iter().all(|row| row.met) {
            Ok(())
        } else {
            Err("a goal was not met".into())
        }
    }
}
