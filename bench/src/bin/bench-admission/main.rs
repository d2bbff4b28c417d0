//! `bench-admission`: how long the webhook takes for an answer over TLS, how many answers it gives, what it holds, and what it adds to a request of the API server. Prints a table
//! and, as its last line, JSON.
//!
//! Its arguments are the webhook's own command line. Where `PILOTHOUSE_BENCH_KYVERNO` names Kyverno's admission controller, that is asked in the same run.

mod door;
mod kyverno;
mod load;
mod rotation;
mod subject;
mod through;
mod tickets;

use bench::{Report, Result, Row};
use kube::Client;

/// Requests a second of the paced rows.
const RATE: u32 = 2_000;
/// Sizes of a review in KiB.
const SIZES: [usize; 3] = [4, 16, 64];
const PACED: [&str; 3] = [
    "review of 4 KiB at 2,000/s over TLS, p99",
    "review of 16 KiB at 2,000/s over TLS, p99",
    "review of 64 KiB at 2,000/s over TLS, p99",
];
const UNSEEN: &str = "review of 4 KiB that was never seen, at 2,000/s, p99";
/// Answers a second of Kyverno 1.19.1 with ten policies, on a machine of this kind.
const KYVERNO: f64 = 943.0;

#[tokio::main]
async fn main() -> Result<()> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_default().await?;
    let webhook = subject::start(&command).await?;
    door::furnish(&client).await?;
    tickets::planned(&client).await?;
    let (door, forbidden) = (door::told(&client).await?, door::forbidden());
    let mut report = Report::of("admission");
    for (size, metric) in SIZES.into_iter().zip(PACED) {
        let callers = load::callers(&door, &forbidden).await?;
        let review = door::review(size);
        let times = load::paced(&callers, |_| review.clone(), RATE).await?;
        println!("{size} KiB: {times}");
        let unjudged = load::unjudged(&callers, &door);
        let bare = load::paced(&unjudged, |_| review.clone(), RATE).await?;
        println!("{size} KiB, unjudged: {bare}");
        report.push(Row {
            peer: Some("unjudged".to_owned()),
            peer_value: Some(bare.p99),
            ..Row::at_most(metric, "ms", times.p99, 2.0)
        });
    }
    let callers = load::callers(&door, &forbidden).await?;
    let review = door::review(4);
    let unseen = |n: u32| review.replace(":8080", &format!(":{n}"));
    let times = load::paced(&callers, unseen, RATE).await?;
    println!("4 KiB, each with a script of its own: {times}");
    report.push(Row::at_most(UNSEEN, "ms", times.p99, 2.0));
    let callers = load::callers(&door, &forbidden).await?;
    let rate = load::unpaced(&callers, &door::review(4)).await?;
    let resident = subject::resident(&webhook)?;
    report.push(Row::at_most(
        "1,000 rules and 10,000 tickets, resident",
        "MiB",
        resident,
        64.0,
    ));
    through::rows(&client, &mut report).await?;
    rotation::row(&client, &mut report).await?;
    // Last, since it has the API server ask it about every Deployment.
    let peer = match kyverno::Kyverno::of_environment() {
        Some(program) => ("Kyverno 1.19.1", program.rate(&client, &forbidden).await?),
        None => ("Kyverno 1.19.1, measured before", KYVERNO),
    };
    report.push(Row {
        metric: "reviews of 4 KiB, 16 callers, unpaced",
        unit: "1/s",
        ours: rate,
        peer: Some(peer.0.to_owned()),
        peer_value: Some(peer.1),
        goal: ">= 8x".to_owned(),
        met: rate >= 8.0 * peer.1,
    });
    report.finish()
}
