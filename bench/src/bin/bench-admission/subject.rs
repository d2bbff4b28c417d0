//! The webhook that is measured: a child of this process, seen from outside.

use std::{fs, time::Duration};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{Result, door::ADDRESS};

/// The name that its certificate is for.
pub const HOST: &str = "pilothouse-webhook.pilothouse-system.svc";
const PATIENCE: Duration = Duration::from_mins(1);

/// Starts it with its own rights, and returns once it listens; it ends with its handle.
pub async fn start(command: &[String]) -> Result<Child> {
    let [program, arguments @ ..] = command else {
        return Err("the webhook's command line is missing".into());
    };
    let kubeconfig = std::env::var("PILOTHOUSE_BENCH_WEBHOOK_KUBECONFIG")?;
    let mut webhook = Command::new(program);
    webhook.args(arguments).env("KUBECONFIG", kubeconfig);
    // Each request that is not judged is a warning.
    webhook.env("RUST_LOG", "error");
    let child = webhook.kill_on_drop(true).spawn()?;
    let listens = async {
        while TcpStream::connect(ADDRESS).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, listens).await?;
    Ok(child)
}

/// MiB that it holds.
pub fn resident(webhook: &Child) -> Result<f64> {
    let id = webhook.id().ok_or("the webhook has ended")?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|value| value.trim().split(' ').next());
    Ok(kib.ok_or("no such field")?.parse::<f64>()? / 1024.0)
}
