//! Serves what is too numerous for etcd: the aggregated API of `records.pilothouse.dev`, the operator's ingest, health and metrics. Runs as
//! the store, which there is one of, or as a front before it.

mod accept;
mod api;
mod backup;
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

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use serving::telemetry;

#[tokio::main]
async fn main() -> ExitCode {
    // Whoever installed one before has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    telemetry::init();
    let options = options::Options::parse();
    let ended: Result<(), Box<dyn Error>> = match options.command {
        Some(command) => command.carry_out(&options.data_dir).map_err(Into::into),
        None => run::run(options).await.map_err(Into::into),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!(error = telemetry::chain(&*e), "server ends");
            ExitCode::FAILURE
        }
    }
}
