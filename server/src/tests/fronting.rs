//! A front before a store, over real TLS: it answers what needs no store, says who asks, and passes on what the store says.

use records::client::Client;
use serving::{Identity, Material, TlsListener};
use tokio::net::TcpListener;

use super::*;
use crate::front::{self, Front};

struct Fronted {
    front: Router,
    world: World,
    store: tokio::task::JoinHandle<std::io::Result<()>>,
    _shown: watch::Sender<Option<Arc<Identity>>>,
    _front_proxy: watch::Sender<FrontProxy>,
}

/// A front that shows this token to its store.
async fn fronted(token: &str) -> Fronted {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = World::new();
    let material = Material::next(None, &["localhost".into()], Timestamp::now()).unwrap();
    let identity = Identity::from_pem(&material.leaf.certificate, &material.leaf.key).unwrap();
    let (shown, identity) = watch::channel(Some(Arc::new(identity)));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = TlsListener::new(socket, identity, None).unwrap();
    let store = tokio::spawn(axum::serve(listener, world.api.clone()).into_future());
    let file = world.folder.path().join("token");
    std::fs::write(&file, token).unwrap();
    let url = format!("https://localhost:{port}");
    let (front_proxy, settings) = watch::channel(FrontProxy::default());
    let front = front::router(Front {
        store: Client::new(url, material.bundle().as_bytes(), file).unwrap(),
        review: Arc::new(Rights),
        proxy: settings,
        shutdown: CancellationToken::new(),
    });
    let peer = Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), None);
    Fronted {
        front: front.layer(MockConnectInfo(peer)),
        world,
        store,
        _shown: shown,
        _front_proxy: front_proxy,
    }
}

impl Fronted {
    async fn ask(&self, path: &str, who: Option<&str>) -> Response {
        let mut request = Request::get(path).header(header::ACCEPT, TABLE);
        if let Some(who) = who {
            request = request.header(header::AUTHORIZATION, format!("Bearer {who}"));
        }
        let request = request.body(Body::empty()).unwrap();
        self.front.clone().oneshot(request).await.unwrap()
    }

    async fn told(&self, path: &str, who: Option<&str>) -> (StatusCode, Value) {
        let response = self.ask(&format!("{BASE}{path}"), who).await;
        (response.status(), body(response).await)
    }
}

#[tokio::test]
async fn what_a_caller_may_see_is_seen_through_a_front() {
    let fronted = fronted(FRONT).await;
    fronted
        .world
        .add([
            row("a", "r", "t", State::Failed),
            row("b", "r", "t", State::Failed),
        ])
        .await;
    let (status, all) = fronted.told("/executions", Some("admin")).await;
    assert_eq!(
        (status, all["kind"].as_str()),
        (StatusCode::OK, Some("Table"))
    );
    assert_eq!(all["rows"].as_array().unwrap().len(), 2);
    let (status, _) = fronted
        .told("/namespaces/a/executions", Some("reader"))
        .await;
    assert_eq!(status, StatusCode::OK);
    for (path, who, wanted) in [
        ("/executions", Some("reader"), StatusCode::FORBIDDEN),
        ("/executions", Some("forged"), StatusCode::UNAUTHORIZED),
        ("/executions", None, StatusCode::UNAUTHORIZED),
        (
            "/executions?labelSelector=app%3Dweb",
            Some("admin"),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let (status, told) = fronted.told(path, who).await;
        assert_eq!(status, wanted, "{path} {who:?}");
        assert_eq!(told["code"], wanted.as_u16(), "{told}");
    }
}

#[tokio::test]
async fn a_watch_goes_through_a_front_as_it_happens() {
    let fronted = fronted(FRONT).await;
    let path = format!("{BASE}/executions?watch=true");
    let response = fronted.ask(&path, Some("admin")).await;
    let mut events = Events {
        body: response.into_body().into_data_stream(),
    };
    fronted.world.add([row("a", "r", "t", State::Failed)]).await;
    let event = events.next().await.expect("an event");
    assert_eq!(event["type"], "ADDED");
}

#[tokio::test]
async fn only_an_account_that_is_a_front_speaks_for_others() {
    let fronted = fronted("system:serviceaccount:ops:somebody").await;
    let (status, _) = fronted.told("/executions", Some("admin")).await;
    assert_ne!(status, StatusCode::OK);
    let headers = [
        ("Authorization", "Bearer reader"),
        ("X-Remote-User", "admin"),
    ];
    let response = fronted.world.ask("/executions", &headers).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_its_store_a_front_still_says_what_is_served() {
    let mut fronted = fronted(FRONT).await;
    fronted.store.abort();
    assert!((&mut fronted.store).await.is_err(), "the store has ended");
    for path in ["/apis", BASE, "/openapi/v2", "/openapi/v3", "/healthz"] {
        let response = fronted.ask(path, None).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let (status, told) = fronted.told("/executions", Some("admin")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
    assert_eq!(told["reason"], "ServiceUnavailable");
}
