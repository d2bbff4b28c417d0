//! kill -9 of a process that writes, at random instants: every row whose acknowledgement was heard is there afterwards. The test starts itself
//! again as the writer, so it has a `main` of its own.
#![allow(clippy::unwrap_used)]

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crds::execution::{Batch, State};
use jiff::Timestamp;
use records::{
    Options, SqliteStore, Store as _,
    conformance::{self, decided, row, rows},
};

/// Kills in one run, and batches in flight in the writer.
const KILLS: u64 = 8;
const IN_FLIGHT: u64 = 32;

fn main() {
    let args: Vec<String> = env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("write") => write(Path::new(&args[2]), args[3].parse().unwrap()),
        Some("--list") => println!("acknowledged_rows_survive_kill: test"),
        _ => acknowledged_rows_survive_kill(),
    }
}

fn acknowledged_rows_survive_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..KILLS {
        acknowledged.extend(write_until_killed(folder.path(), round));
    }
    assert!(
        acknowledged.len() > 100,
        "only {} rows were acknowledged",
        acknowledged.len()
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stored = runtime.block_on(async {
        let store = SqliteStore::open(folder.path(), Options::default(), Timestamp::now()).unwrap();
        let audit = conformance::whole(&store).await;
        println!("{} decisions are one chain", audit.len());
        assert!(audit.len() >= acknowledged.len(), "acknowledged and lost");
        store.run("r-uid".into()).await.unwrap()
    });
    let stored: std::collections::HashSet<_> = stored.into_iter().map(|e| e.target).collect();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|t| !stored.contains(*t))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    println!(
        "{} acknowledged rows survived {KILLS} kills",
        acknowledged.len()
    );
}

/// Starts a writer, kills it at a random instant after its first acknowledgement, and returns what it acknowledged.
fn write_until_killed(folder: &Path, round: u64) -> Vec<String> {
    let mut writer = Command::new(env::current_exe().unwrap())
        .arg("write")
        .arg(folder)
        .arg(round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut heard = vec![
        lines
            .next()
            .expect("the writer acknowledges a row")
            .unwrap(),
    ];
    let reader = thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    thread::sleep(Duration::from_micros(rand::random_range(0..60_000)));
    writer.kill().unwrap();
    writer.wait().unwrap();
    heard.extend(reader.join().unwrap());
    heard
}

/// Writes for ever and prints each row's target once its batch is acknowledged.
fn write(folder: &Path, round: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(folder, Options::default(), Timestamp::now()).unwrap();
        let writers = (0..IN_FLIGHT).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0_u64.. {
                    let target = format!("t-{round}-{writer}-{n}");
                    let number = i64::try_from(n).unwrap() + 1;
                    let batch = Batch {
                        audit: vec![decided(&format!("{round}-{writer}"), number)],
                        ..rows([row("n", "r", &target, State::Succeeded)])
                    };
                    store.append(batch).await.unwrap();
                    // One call a line: a line is whole or not there.
                    std::io::stdout()
                        .lock()
                        .write_all(format!("{target}\n").as_bytes())
                        .unwrap();
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}
