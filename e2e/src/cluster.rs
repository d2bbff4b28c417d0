//! The cluster under test, as its administrator and as other people. Named by `PILOTHOUSE_E2E_KUBECONFIG` alone: an ambient KUBECONFIG may be production.

use std::{env, path::PathBuf, thread, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Longer than any single answer of a healthy API server takes.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to the cluster under test.
#[derive(Clone)]
pub struct Cluster {
    config: Config,
}

impl Cluster {
    /// Reads the kubeconfig that `cargo xtask test` hands over.
    pub async fn connect() -> Self {
        // A second test of the same process finds the provider installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig(), &KubeConfigOptions::default())
                .await
                .unwrap_or_else(|error| panic!("no kubeconfig: {error}"));
        config.connect_timeout = Some(ANSWER);
        Self { config }
    }

    /// The administrator.
    pub fn client(&self) -> Client {
        Client::try_from(self.config.clone()).expect("a kubeconfig that was read makes a client")
    }

    /// Does something that a `drop` must not leave undone, and waits for it: on a thread, a runtime and a connection of its own, because the test's runtime
    /// cannot be waited on from there.
    pub fn finally<F>(&self, what: &str, act: impl FnOnce(Client) -> F + Send + 'static)
    where
        F: Future<Output = kube::Result<()>>,
    {
        let cluster = self.clone();
        let done = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async { act(cluster.client()).await })
        });
        match done.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("{what} is left undone: {error}"),
            Err(_) => eprintln!("{what} is left undone"),
        }
    }

    /// Another person; the API server adds `system:authenticated` to their groups.
    pub fn as_user(&self, name: &str, groups: &[&str]) -> Client {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(name.to_owned());
        config.auth_info.impersonate_groups =
            Some(groups.iter().map(ToString::to_string).collect());
        Client::try_from(config).expect("a kubeconfig that was read makes a client")
    }

    /// A ServiceAccount.
    pub fn as_account(&self, namespace: &str, name: &str) -> Client {
        self.as_user(&format!("system:serviceaccount:{namespace}:{name}"), &[])
    }
}

/// Whether whoever writes a spec has to say that it is they: the API server is too old to stamp it.
pub fn demands_requester() -> bool {
    env::var_os("PILOTHOUSE_E2E_STAMPING").is_some_and(|stamping| stamping == "Demand")
}

/// Where the administrator's kubeconfig is.
pub fn kubeconfig_path() -> PathBuf {
    let path = env::var_os("PILOTHOUSE_E2E_KUBECONFIG").map(PathBuf::from);
    path.expect(
        "PILOTHOUSE_E2E_KUBECONFIG names the cluster under test; `cargo xtask test` sets it",
    )
}

/// The administrator's kubeconfig.
pub fn kubeconfig() -> Kubeconfig {
    let path = kubeconfig_path();
    Kubeconfig::read_from(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
