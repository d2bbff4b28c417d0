//! Serves what is too numerous for etcd: the aggregated API of `records.pilothouse.dev`, the operator's ingest, health and metrics. Runs as
//! the store, which there is one of, or as a front before it.

mod accept;
mod api;
mod discovery;
mod door;
mod failure;
mod front;
mod ingest;
mod list;
mod log;
mod metrics;
mod namespaces;
mod object;
mod openapi;
mod options;
mod retention;
mod run;
mod selector;
mod slot;
mod table;
#[cfg(test)]
mod tests;
mod volume;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;
use serving::telemetry;

#[tokio::main]
async fn main() -> ExitCode {
    // Whoever installed one before has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    telemetry::init();
    match run::run(options::Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!(error = telemetry::chain(&e), "server ends");
            ExitCode::FAILURE
        }
    }
}
