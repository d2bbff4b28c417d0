//! Durable rows a second, in process, with the real schema: producers that each wait for their acknowledgement before they send the next batch.
//! `bench-records [--seconds N] [--folder DIR]`; the last line is JSON.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crds::{
    execution::{Batch, Execution, State, TargetKind, VERSION, Via},
    key::EffectKey,
};
use futures::future::join_all;
use jiff::Timestamp;
use records::{Options, SqliteStore, Store as _};

/// Producers and rows a batch, of each measurement.
const SHAPES: &[(usize, usize)] = &[(1, 1), (16, 1), (256, 1), (1, 100), (16, 100)];

struct Measured {
    producers: usize,
    batch: usize,
    rows_per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (seconds, base) = arguments()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let bytes = serde_json::to_string(&row(0, 0, 0))?.len();
    println!("row {bytes} bytes, {seconds} s each, load {}", load());
    let mut all = Vec::new();
    for &(producers, batch) in SHAPES {
        let folder = base.join(format!("bench-records-{}", std::process::id()));
        let measured = runtime.block_on(measure(
            &folder,
            producers,
            batch,
            Duration::from_secs(seconds),
        ));
        fs::remove_dir_all(&folder)?;
        let m = measured?;
        println!(
            "{producers:>4} producers x {batch:>4} rows: {:>9.0} rows/s, ack p50 {:?} p99 {:?}",
            m.rows_per_second, m.p50, m.p99
        );
        all.push(m);
    }
    println!("{}", summary(&all, bytes));
    Ok(())
}

fn arguments() -> Result<(u64, PathBuf), Box<dyn std::error::Error>> {
    let (mut seconds, mut folder) = (3, env::temp_dir());
    let mut args = env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} wants a value"))?;
        match flag.as_str() {
            "--seconds" => seconds = value.parse()?,
            "--folder" => folder = value.into(),
            _ => return Err(format!("unknown flag {flag}: --seconds N, --folder DIR").into()),
        }
    }
    Ok((seconds, folder))
}

async fn measure(
    folder: &Path,
    producers: usize,
    batch: usize,
    time: Duration,
) -> Result<Measured, records::Error> {
    let store = SqliteStore::open(folder, Options::default(), Timestamp::now())?;
    let began = Instant::now();
    let workers =
        (0..producers).map(|producer| produce(store.clone(), producer, batch, began + time));
    let done = join_all(workers.map(tokio::spawn)).await;
    let elapsed = began.elapsed();
    let mut acks = Vec::new();
    for worker in done {
        acks.extend(worker.expect("a producer does not panic")?);
    }
    acks.sort_unstable();
    let rows = u32::try_from(acks.len() * batch).expect("a bench writes fewer than 4 billion rows");
    Ok(Measured {
        producers,
        batch,
        rows_per_second: f64::from(rows) / elapsed.as_secs_f64(),
        p50: acks[acks.len() / 2],
        p99: acks[acks.len() * 99 / 100],
    })
}

/// Sends until the time is over; the time of each acknowledgement.
async fn produce(
    store: SqliteStore,
    producer: usize,
    size: usize,
    until: Instant,
) -> Result<Vec<Duration>, records::Error> {
    let mut acks = Vec::new();
    loop {
        let rows = (0..size).map(|i| row(producer, acks.len(), i)).collect();
        let batch = Batch {
            id: acks.len().to_string(),
            rows,
            logs: Vec::new(),
        };
        let sent = Instant::now();
        store.append(batch).await?;
        acks.push(sent.elapsed());
        if Instant::now() >= until {
            return Ok(acks);
        }
    }
}

fn row(producer: usize, batch: usize, index: usize) -> Execution {
    Execution {
        version: VERSION,
        key: EffectKey {
            attempt: 1,
            cluster: "0b6d2a3e-6a4c-4a56-9df0-3a1d4b9f7c11".into(),
            plan: "9f".repeat(32),
            run: format!("6f1c8a52-8d0e-4f3b-a0f5-{producer:012}"),
            step: "restart-service".into(),
            target: format!("2d9b7e10-{batch:08}-{index:04}"),
        },
        namespace: "operations".into(),
        namespace_uid: "b52f1c1e-7a5f-4a0a-bb6d-92c1f0f1a001".into(),
        run: format!("rolling-restart-{producer}"),
        job: Some("rolling-restart".into()),
        step: "restart-service".into(),
        target_kind: TargetKind::Host,
        target: format!("host-{batch}-{index}"),
        attempt: 1,
        state: State::Succeeded,
        reason: Some("Exited".into()),
        message: None,
        exit_code: Some(0),
        started_at: Some(Timestamp::UNIX_EPOCH),
        finished_at: Some(Timestamp::UNIX_EPOCH),
        output_bytes: 4096,
        dropped_bytes: 0,
        via: Via::Journal,
    }
}

fn summary(all: &[Measured], row_bytes: usize) -> serde_json::Value {
    let shapes: Vec<_> = all
        .iter()
        .map(|m| {
            serde_json::json!({
                "producers": m.producers,
                "rowsPerBatch": m.batch,
                "rowsPerSecond": m.rows_per_second.round(),
                "ackP50Ms": m.p50.as_secs_f64() * 1e3,
                "ackP99Ms": m.p99.as_secs_f64() * 1e3,
            })
        })
        .collect();
    serde_json::json!({"bench": "records", "rowBytes": row_bytes, "load": load(), "shapes": shapes})
}

/// Durable figures mean little without the machine's load beside them.
fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
