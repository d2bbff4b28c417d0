//! The binary: reads its options and runs the library, which the fuzz targets call as well.

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use server::{options::Options, run};
use serving::telemetry;

#[tokio::main]
async fn main() -> ExitCode {
    // Whoever installed one before has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    telemetry::init();
    let options = Options::parse();
    let ended: Result<(), Box<dyn Error>> = match options.command {
        Some(command) => command.carry_out(&options).await.map_err(Into::into),
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
