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

/// A front that shows this token to its store, asked over a connection with this client certificate.
async fn fronted(token: &str, certificate: Option<&str>) -> Fronted {
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
    let (front_proxy, settings) = watch::channel(FrontProxy {
        allowed_names: vec!["front-proxy-client".into()],
        user_headers: vec!["X-Remote-User".into()],
        ..FrontProxy::default()
    });
    let front = front::router(Front {
        store: Client::new(url, material.bundle().as_bytes(), file).unwrap(),
        review: Arc::new(Rights),
        proxy: settings,
        shutdown: CancellationToken::new(),
    });
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let peer = Peer::new(address, certificate.map(ToOwned::to_owned));
    Fronted {
        front: front.layer(MockConnectInfo(peer)),
        world,
        store,
        _shown: shown,
        _front_proxy: front_proxy,
    }
}

impl Fronted {
    async fn ask_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::get(path).header(header::ACCEPT, TABLE);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        self.front.clone().oneshot(request).await.unwrap()
    }

    async fn ask(&self, path: &str, who: Option<&str>) -> Response {
        let token = who.map(|who| format!("Bearer {who}"));
        let token = token.as_deref().map(|token| ("Authorization", token));
        self.ask_with(path, token.as_slice()).await
    }

    async fn told(&self, path: &str, who: Option<&str>) -> (StatusCode, Value) {
        let response = self.ask(&format!("{BASE}{path}"), who).await;
        (response.status(), body(response).await)
    }
}

#[tokio::test]
async fn what_a_caller_may_see_is_seen_through_a_front() {
    let fronted = fronted(FRONT, None).await;
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
    let fronted = fronted(FRONT, None).await;
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
async fn the_front_proxy_is_believed_by_its_certificate_alone() {
    let remote = [("X-Remote-User", "admin")];
    for (certificate, status) in [
        (Some("front-proxy-client"), StatusCode::OK),
        (Some("kubelet"), StatusCode::UNAUTHORIZED),
        (Some(""), StatusCode::UNAUTHORIZED),
        (None, StatusCode::UNAUTHORIZED),
    ] {
        let fronted = fronted(FRONT, certificate).await;
        let path = format!("{BASE}/executions");
        let asked = fronted.ask_with(&path, &remote).await;
        assert_eq!(asked.status(), status, "{certificate:?}");
        let nobody = fronted.ask_with(&path, &[]).await;
        assert_ne!(nobody.status(), StatusCode::OK, "no user is no user");
    }
}

#[tokio::test]
async fn a_front_that_its_store_does_not_trust_says_so() {
    let fronted = fronted("system:serviceaccount:ops:somebody", None).await;
    let (status, told) = fronted.told("/executions", Some("admin")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
}

#[tokio::test]
async fn without_its_store_a_front_still_says_what_is_served() {
    let mut fronted = fronted(FRONT, None).await;
    fronted.store.abort();
    assert!((&mut fronted.store).await.is_err(), "the store has ended");
    for path in [
        "/apis",
        "/apis/records.pilothouse.dev",
        BASE,
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/apis/records.pilothouse.dev/v1alpha1",
        "/healthz",
    ] {
        let response = fronted.ask(path, None).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    let delete = Request::delete(format!("{BASE}/executions"));
    let delete = delete.body(Body::empty()).unwrap();
    let response = fronted.front.clone().oneshot(delete).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    let (status, told) = fronted.told("/executions", Some("admin")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
    assert_eq!(told["reason"], "ServiceUnavailable");
}
