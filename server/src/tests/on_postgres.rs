//! Two servers on one PostgreSQL: what one takes in the other tells, and while it is away both say so.

use std::{fs, net::TcpListener};

use records::{PostgresStore, Settings, private::PrivatePostgres};
use serving::Material;

use super::{ingesting::post, *};

/// A server of several, with connections of its own.
async fn replica(settings: &Settings) -> World {
    let store = PostgresStore::open(settings.clone(), Options::default(), Timestamp::now());
    let store: Arc<dyn Store> = Arc::new(store.await.unwrap());
    let slot = Slot::default();
    slot.fill(store.clone());
    World::with(slot, store, TempDir::new().unwrap(), |_| None)
}

fn batch(target: &str, state: State) -> String {
    serde_json::to_string(&rows([row("a", "r", target, state)])).unwrap()
}

#[tokio::test]
async fn a_watch_at_one_server_tells_what_another_takes_in() {
    let postgres = PrivatePostgres::start(&[]).unwrap();
    let settings = postgres.database("records").unwrap();
    let (writes, reads) = (replica(&settings).await, replica(&settings).await);
    let begun = post(&writes, OPERATOR, batch("t0", State::Started)).await;
    assert_eq!(begun.status(), StatusCode::OK);
    let list = reads.get("/namespaces/a/executions").await;
    assert_eq!(
        names(&list),
        ["r.step.t0.1"],
        "what is acknowledged is read anywhere"
    );
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("/namespaces/a/executions?watch=true&resourceVersion={from}");
    let mut watch = reads.watch(&path).await;
    for (target, state) in [("t1", State::Failed), ("t0", State::Succeeded)] {
        let told = post(&writes, OPERATOR, batch(target, state)).await;
        assert_eq!(told.status(), StatusCode::OK);
    }
    assert_eq!(watch.told().await, event("ADDED", "r.step.t1.1"));
    assert_eq!(watch.told().await, event("MODIFIED", "r.step.t0.1"));
}

#[tokio::test]
async fn while_postgresql_is_away_the_answer_is_unavailable_and_then_the_batch_is_taken_once() {
    let mut postgres = PrivatePostgres::start(&[]).unwrap();
    let world = replica(&postgres.database("records").unwrap()).await;
    let sent = batch("t0", State::Succeeded);
    postgres.kill().unwrap();
    for _ in 0..2 {
        let refused = post(&world, OPERATOR, sent.clone()).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let (path, away) = ("/executions", StatusCode::SERVICE_UNAVAILABLE);
    let told = world
        .refused(path, &ADMIN, away, "ServiceUnavailable")
        .await;
    assert_eq!(told["message"], "records are not available");
    postgres.up().unwrap();
    while post(&world, OPERATOR, sent.clone()).await.status() != StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = post(&world, OPERATOR, sent).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(names(&world.get("/executions").await), ["r.step.t0.1"]);
}

/// An authority, and what it vouches for under the name of this machine.
fn material() -> Material {
    Material::next(None, &["localhost".into()], Timestamp::now()).unwrap()
}

/// A PostgreSQL that speaks TLS on a port, and where it is.
fn encrypted(material: &Material) -> (PrivatePostgres, Settings, String) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let more = ["listen_addresses=127.0.0.1", &format!("port={port}")];
    let postgres = PrivatePostgres::start(&more).unwrap();
    for (setting, name, text) in [
        ("ssl_cert_file", "tls.crt", &material.leaf.certificate),
        ("ssl_key_file", "tls.key", &material.leaf.key),
    ] {
        let path = postgres.file(name, text).unwrap();
        let set = format!("ALTER SYSTEM SET {setting} = '{}'", path.display());
        postgres.sql("postgres", &set).unwrap();
    }
    postgres
        .sql("postgres", "ALTER SYSTEM SET ssl = on")
        .unwrap();
    postgres.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    while postgres.sql("postgres", "SHOW ssl").unwrap() != "on" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut settings = postgres.database("records").unwrap();
    settings.ca_file = Some(postgres.file("ca.crt", &material.bundle()).unwrap());
    let url = format!("postgresql://postgres@localhost:{port}/records?sslmode=verify-full");
    fs::write(&settings.url_file, &url).unwrap();
    (postgres, settings, url)
}

#[tokio::test]
async fn tls_is_spoken_to_whom_the_authorities_vouch_for_by_name_and_to_nobody_else() {
    let (postgres, settings, url) = encrypted(&material());
    let open = async || {
        let settings = settings.clone();
        PostgresStore::open(settings, Options::default(), Timestamp::now()).await
    };
    let store = open().await.unwrap();
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'postgres' AND datname = 'records' AND NOT ssl";
    assert_eq!(postgres.sql("postgres", plain).unwrap(), "0");
    store
        .append(rows([row("a", "r", "t", State::Succeeded)]))
        .await
        .unwrap();
    fs::write(&settings.url_file, url.replace("localhost", "127.0.0.1")).unwrap();
    assert!(open().await.is_err(), "the certificate is for another name");
    fs::write(&settings.url_file, &url).unwrap();
    let another = material().bundle();
    fs::write(settings.ca_file.as_ref().unwrap(), another).unwrap();
    assert!(open().await.is_err(), "nobody vouches for the certificate");
}
