//! The server's own program as a store: over TLS, on a folder that outlives it, beside a stand-in for the API server that vouches for one token.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
};

use axum::{Json, Router, http::StatusCode, routing::post};
use crds::names::RECORDS_AUDIENCE;
use jiff::Timestamp;
use records::{Settings, client::Client};
use serde_json::{Value, json};
use serving::Material;
use tempfile::TempDir;
use tokio::net::TcpListener;

const TOKEN: &str = "the operator's";

/// What a server needs, and what it leaves behind.
pub struct Stand {
    folder: TempDir,
    bundle: String,
    port: u16,
    keeping: String,
}

/// A running server, killed when dropped.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself is as dead.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stand {
    pub async fn set(base: &Path) -> Self {
        // Whoever installed one before has installed the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = TempDir::new_in(base).expect("a folder");
        let material = Material::next(None, &["localhost".into()], Timestamp::now());
        let material = material.expect("a certificate");
        let cluster = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let kubeconfig = kubeconfig(cluster.local_addr().expect("an address").port());
        tokio::spawn(axum::serve(cluster, router()).into_future());
        for (name, text) in [
            ("tls.crt", &material.leaf.certificate),
            ("tls.key", &material.leaf.key),
            ("kubeconfig", &kubeconfig.to_string()),
            ("token", &TOKEN.to_owned()),
        ] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self {
            keeping: format!("--data-dir={}/data", folder.path().display()),
            folder,
            bundle: material.bundle(),
            port: free.local_addr().expect("an address").port(),
        }
    }

    /// The same with records in PostgreSQL.
    pub fn on(self, postgres: &Settings) -> Self {
        let keeping = format!("--postgres-url-file={}", postgres.url_file.display());
        Self { keeping, ..self }
    }

    /// Starts a server on the folder; it takes what comes once it is up.
    pub fn start(&self) -> Server {
        let folder = self.folder.path().display();
        let server = Command::new(env!("CARGO_BIN_EXE_server"))
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("RUST_LOG", "off")
            .args([
                self.keeping.clone(),
                format!("--store-addr=127.0.0.1:{}", self.port),
                "--health-addr=127.0.0.1:0".to_owned(),
                "--tls-mode=files".to_owned(),
                format!("--tls-dir={folder}"),
            ])
            .spawn();
        Server(server.expect("the server starts"))
    }

    /// A client with connections of its own.
    pub fn client(&self) -> Client {
        let url = format!("https://localhost:{}", self.port);
        let token = self.folder.path().join("token");
        Client::new(url, self.bundle.as_bytes(), token).expect("a client")
    }
}

fn kubeconfig(port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "stand",
        "clusters": [{"name": "stand", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "stand", "user": {}}],
        "contexts": [{"name": "stand", "context": {"cluster": "stand", "user": "stand"}}],
    })
}

/// Reviews tokens, and has nothing else.
fn router() -> Router {
    let nothing = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not here"});
    Router::new()
        .route(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            post(reviewed),
        )
        .fallback(|| async { (StatusCode::NOT_FOUND, Json(nothing)) })
}

async fn reviewed(Json(mut review): Json<Value>) -> Json<Value> {
    review["status"] = json!({
        "authenticated": review["spec"]["token"] == TOKEN,
        "audiences": [RECORDS_AUDIENCE],
        "user": {"username": "system:serviceaccount:pilothouse-system:pilothouse-operator"},
    });
    Json(review)
}
