//! The operator: controllers that observe, decide, act and report. One leader works; its standby waits for the Lease.

mod account;
mod actions;
mod archives;
mod args;
mod audit;
mod awaiting;
mod bookings;
mod bursts;
mod claims;
mod context;
mod controllers;
mod crowds;
mod desk;
mod doors;
mod entitled;
mod error;
mod fenced;
mod finalizers;
mod hands;
mod heard;
mod held;
mod latest;
mod leader;
mod lease;
mod ledgers;
mod listed;
mod memory;
mod metrics;
mod namespaces;
mod off_limits;
mod places;
mod planned;
mod policies;
mod precedence;
mod pulse;
mod reached;
mod report;
mod resolve;
mod revisions;
mod scales;
mod scope;
mod sweeps;
mod traces;
mod turns;
mod users;
mod wakes;
mod ways;
mod work;

use clap::Parser as _;

use crate::args::Args;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let args = Args::parse();
    serving::telemetry::init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("no other provider was installed");
    match leader::run(args).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error::chain(&error), "the operator cannot go on");
            std::process::ExitCode::FAILURE
        }
    }
}
