//! The operator's client against the ingest, over real TLS: whom it trusts, what it hears, and certificates that change while it runs.

use records::client::{Client, Error};
use serving::{Identity, Material, TlsListener};
use tokio::net::TcpListener;

use super::*;

struct Authority {
    bundle: String,
    identity: Arc<Identity>,
}

fn authority() -> Authority {
    let material = Material::next(None, &["localhost".into()], Timestamp::now()).unwrap();
    let identity = Identity::from_pem(&material.leaf.certificate, &material.leaf.key).unwrap();
    Authority {
        bundle: material.bundle(),
        identity: Arc::new(identity),
    }
}

fn client(port: u16, bundle: &str, folder: &TempDir, token: &str) -> Client {
    let file = folder.path().join(format!("token-{}", token.len()));
    std::fs::write(&file, token).unwrap();
    Client::new(format!("https://localhost:{port}"), bundle.as_bytes(), file).unwrap()
}

#[tokio::test]
async fn the_client_trusts_what_it_was_given_and_certificates_change_under_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::new();
    let (first, second) = (authority(), authority());
    let (show, shown) = watch::channel(Some(Arc::clone(&first.identity)));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = TlsListener::new(socket, shown, None).unwrap();
    tokio::spawn(axum::serve(listener, world.ingest.clone()).into_future());
    let folder = TempDir::new().unwrap();
    let operator = client(port, &first.bundle, &folder, OPERATOR);
    operator
        .append(&rows([row("a", "r", "t", State::Failed)]))
        .await
        .unwrap();
    assert_eq!(operator.rows("r-uid").await.unwrap().len(), 1);
    let mut newer = rows([row("a", "r", "u", State::Failed)]);
    newer.rows[0].version = 9;
    let refused = operator.append(&newer).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Rejected { message, .. } if message.contains("version 9")),
        "{refused}"
    );
    assert!(
        !refused.is_retryable(),
        "the same batch would be refused for ever"
    );
    let stranger = client(port, &first.bundle, &folder, "system:nobody");
    assert!(matches!(
        stranger.rows("r-uid").await,
        Err(Error::Unauthorized(_))
    ));
    let untrusting = client(port, &second.bundle, &folder, OPERATOR);
    assert!(matches!(
        untrusting.rows("r-uid").await,
        Err(Error::Unreachable(_))
    ));
    show.send_replace(Some(Arc::clone(&second.identity)));
    assert_eq!(
        untrusting.rows("r-uid").await.unwrap().len(),
        1,
        "the new certificate is shown at once"
    );
}

#[tokio::test]
async fn a_client_that_follows_the_authorities_trusts_a_server_that_made_new_ones() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::new();
    let (lost, anew) = (authority(), authority());
    let (_show, shown) = watch::channel(Some(anew.identity));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = TlsListener::new(socket, shown, None).unwrap();
    tokio::spawn(axum::serve(listener, world.ingest.clone()).into_future());
    let folder = TempDir::new().unwrap();
    let (tell, published) = watch::channel(None::<String>);
    let operator = client(port, &lost.bundle, &folder, OPERATOR).following(move || {
        let today = published.borrow().clone();
        async move { today }
    });
    let other_half = operator.clone();
    for unusable in [None, Some("no bundle".to_owned()), Some(anew.bundle)] {
        tell.send_replace(unusable);
        let refused = operator.rows("r-uid").await;
        assert!(matches!(refused, Err(Error::Unreachable(_))));
    }
    assert!(other_half.rows("r-uid").await.unwrap().is_empty());
}

#[tokio::test]
async fn records_that_are_away_are_told_from_records_that_refuse() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = TempDir::new().unwrap();
    let away = client(closed, &authority().bundle, &folder, OPERATOR);
    let error = away.rows("r-uid").await.unwrap_err();
    assert!(error.is_away() && error.is_retryable(), "{error}");
}
