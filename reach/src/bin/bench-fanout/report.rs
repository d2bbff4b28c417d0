//! The table and the line of JSON that ends the output.

use std::fs;

use serde::Serialize;

use crate::Result;

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
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Json<'a> {
    bench: &'static str,
    rows: &'a [Row],
    load: f64,
}

impl Report {
    pub fn push(&mut self, row: Row) {
        let peer = match (&row.peer, row.peer_value) {
            (Some(peer), Some(value)) => format!("{value:.2} ({peer})"),
            _ => "-".to_owned(),
        };
        let met = if row.met { "met" } else { "NOT MET" };
        println!(
            "{:<48} {:>9.2} {:<5} {:<32} {:<28} {met}",
            row.metric, row.ours, row.unit, peer, row.goal
        );
        self.rows.push(row);
    }

    pub fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.met)
    }

    pub fn print(&self) -> Result<()> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().unwrap_or_default().parse()?;
        println!(
            "{}",
            serde_json::to_string(&Json {
                bench: "fanout",
                rows: &self.rows,
                load
            })?
        );
        Ok(())
    }
}
