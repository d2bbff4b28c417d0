//! What the server counts about itself.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

#[derive(Clone, Debug)]
pub struct Metrics {
    batches: Counter,
    failed: Counter,
    rows: Counter,
    seconds: Histogram,
    removed: Counter,
    size: Gauge<u64, AtomicU64>,
    volume: Gauge<u64, AtomicU64>,
    given_up: Counter,
}

impl Metrics {
    /// Makes them and names them to the registry.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            batches: Counter::default(),
            failed: Counter::default(),
            rows: Counter::default(),
            seconds: Histogram::new([0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0]),
            removed: Counter::default(),
            size: Gauge::default(),
            volume: Gauge::default(),
            given_up: Counter::default(),
        };
        let records = registry.sub_registry_with_prefix("pilothouse_records");
        records.register(
            "batches",
            "Batches that were stored",
            metrics.batches.clone(),
        );
        records.register(
            "batches_failed",
            "Batches that were not stored",
            metrics.failed.clone(),
        );
        records.register("rows", "Rows of stored batches", metrics.rows.clone());
        records.register(
            "append_seconds",
            "Time from a batch to its sync",
            metrics.seconds.clone(),
        );
        records.register(
            "rows_removed",
            "Rows that retention took away",
            metrics.removed.clone(),
        );
        records.register(
            "size_bytes",
            "Bytes in use, as of the last sweep",
            metrics.size.clone(),
        );
        records.register(
            "volume_used_percent",
            "How full the volume is",
            metrics.volume.clone(),
        );
        records.register(
            "output_given_up_bytes",
            "Output that was not kept because the volume was nearly full",
            metrics.given_up.clone(),
        );
        metrics
    }

    pub fn ingested(&self, rows: usize, time: Duration, stored: bool) {
        if stored {
            self.batches.inc();
            self.rows.inc_by(rows as u64);
            self.seconds.observe(time.as_secs_f64());
        } else {
            self.failed.inc();
        }
    }

    pub fn volume(&self, percent: u64) {
        self.volume.set(percent);
    }

    pub fn given_up(&self, output: usize) {
        self.given_up.inc_by(output as u64);
    }

    pub fn swept(&self, rows: u64, size: u64) {
        self.removed.inc_by(rows);
        self.size.set(size);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_dashboard_shows_what_is_counted() {
        let mut registry = Registry::default();
        Metrics::new(&mut registry);
        let mut told = String::new();
        encode(&mut told, &registry).expect("text");
        let dashboard = include_str!("../../charts/pilothouse/files/grafana/pilothouse.json");
        let words = dashboard.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let shown: Vec<_> = words
            .filter(|word| word.starts_with("pilothouse_records_"))
            .collect();
        assert!(shown.len() > 3, "{shown:?}");
        for name in shown {
            assert!(
                told.contains(&format!("\n{name}")),
                "{name} is not among {told}"
            );
        }
    }
}
