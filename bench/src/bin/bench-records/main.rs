//! `bench-records URL CA TOKEN FOLDER`: durable rows a second with the real schema, into a store of this process in the folder, and through the operator's client, TLS and
//! authentication into the store at the URL. `bench-records --postgres`: into a store of this process on a PostgreSQL of its own, with that one's defaults, in the folder for
//! temporary files. Prints a table and, as its last line, JSON.

mod away;
mod load;
mod row;

use std::{fs, path::Path, sync::Arc, time::Duration};

use bench::{Report, Result, Row};
use jiff::Timestamp;
use load::{Shape, Sink, measure};
use records::{
    Options, PostgresStore, SqliteStore, Store, client::Client, private::PrivatePostgres,
};
use tempfile::TempDir;

/// Length of each measurement.
const WHILE: Duration = Duration::from_secs(5);
/// More writers than a store takes batches of at once, and batches of a middling size.
const BUSY: Shape = Shape {
    producers: 8,
    rows: 2_000,
};
const IDLE: Shape = Shape {
    producers: 1,
    rows: 1,
};
const ROWS: f64 = 100_000.0;
const POSTGRES_ROWS: f64 = 50_000.0;
const ACK: f64 = 5.0;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Whoever installed one before has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    println!("rows of {} bytes", row::bytes());
    let mut report = Report::of("records");
    match arguments.as_slice() {
        [flag] if flag == "--postgres" => postgres(&mut report).await?,
        [url, ca, token, folder] => {
            let folder = TempDir::new_in(folder)?;
            let names = [
                "in process, rows a second",
                "in process, acknowledgement idle, p99",
            ];
            let sink = Sink::Process(Arc::new(store(folder.path())?));
            rows(&mut report, &sink, names, ROWS).await?;
            let client = Client::new(url.clone(), &fs::read(ca)?, token)?;
            let names = [
                "over the network, rows a second",
                "over the network, acknowledgement idle, p99",
            ];
            rows(&mut report, &Sink::Network(client), names, ROWS).await?;
        }
        _ => return Err("what is wanted: URL CA TOKEN FOLDER, or --postgres".into()),
    }
    report.finish()
}

async fn postgres(report: &mut Report) -> Result<()> {
    let mut server = PrivatePostgres::start(&[])?;
    let settings = server.database("records")?;
    let store = PostgresStore::open(settings, Options::default(), Timestamp::now()).await?;
    let names = [
        "on PostgreSQL, rows a second",
        "on PostgreSQL, acknowledgement idle, p99",
    ];
    let store: Arc<dyn Store> = Arc::new(store);
    rows(report, &Sink::Process(store.clone()), names, POSTGRES_ROWS).await?;
    let (acknowledged, lost) = away::lost(&mut server, store).await?;
    println!(
        "{acknowledged} rows were acknowledged before and after PostgreSQL was killed and away for a minute"
    );
    let metric = "PostgreSQL killed and away for a minute, rows lost";
    report.push(Row::at_most(
        metric,
        "rows",
        f64::from(u32::try_from(lost)?),
        0.0,
    ));
    Ok(())
}

fn store(folder: &Path) -> Result<SqliteStore> {
    let options = Options::default();
    Ok(SqliteStore::open(folder, options, Timestamp::now())?)
}

/// Idle first, since what is full takes a while to be at rest.
async fn rows(
    report: &mut Report,
    sink: &Sink,
    names: [&'static str; 2],
    least: f64,
) -> Result<()> {
    let [busy, idle] = names;
    let p99 = measure(sink, IDLE, WHILE).await?.p99;
    report.push(Row::at_most(idle, "ms", p99, ACK));
    let speed = measure(sink, BUSY, WHILE).await?.rows_per_second;
    let goal = format!(">= {least}");
    report.push(Row::alone(busy, "rows/s", speed, &goal, speed >= least));
    Ok(())
}
