//! The binary: reads its options and serves.

use std::process::ExitCode;

use clap::Parser as _;
use serving::telemetry;
use webhook::{options::Options, run};

#[tokio::main]
async fn main() -> ExitCode {
    // Whoever installed one before has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    telemetry::init();
    match run::run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!(error = telemetry::chain(&e), "webhook ends");
            ExitCode::FAILURE
        }
    }
}
