//! The operator that is measured: a child of this process, seen from outside.

use std::{
    fs,
    process::{Child, Command},
    time::{Duration, Instant},
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::Result;

const HEALTH: &str = "127.0.0.1:8080";
const PATIENCE: Duration = Duration::from_mins(1);
/// Memory has settled when it stays within a megabyte for so many looks.
const LOOKS: usize = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

pub struct Subject {
    child: Child,
    /// How long it took to be ready.
    pub ready: Duration,
}

impl Subject {
    /// Starts it with its own rights, and returns once it is ready.
    pub async fn start(command: &[String]) -> Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err("the operator's command line is missing".into());
        };
        let mut operator = Command::new(program);
        operator.args(arguments).env("KUBECONFIG", kubeconfig()?);
        let began = Instant::now();
        let mut subject = Self {
            child: operator.spawn()?,
            ready: Duration::ZERO,
        };
        let ready = async {
            while !is_ready().await {
                if let Some(status) = subject.child.try_wait()? {
                    return Err(format!("the operator ended with {status}").into());
                }
                sleep(Duration::from_millis(1)).await;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(began.elapsed())
        };
        subject.ready = timeout(PATIENCE, ready).await??;
        Ok(subject)
    }

    /// Waits until it holds the Lease and so works.
    pub async fn leads(&self, client: &Client) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(client.clone(), "pilothouse-system");
        let held = async {
            loop {
                let lease = leases.get_opt("pilothouse-operator").await?;
                let holder = lease.and_then(|lease| lease.spec?.holder_identity);
                if holder.is_some_and(|holder| !holder.is_empty()) {
                    return Ok(());
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, held).await?
    }

    /// Resident memory in MiB, once it has stopped to change.
    pub async fn settled(&self) -> Result<f64> {
        let mut last = vec![self.resident()?];
        loop {
            sleep(BETWEEN_LOOKS).await;
            let now = self.resident()?;
            if last.iter().any(|before| (before - now).abs() > 1.0) {
                last.clear();
            }
            last.push(now);
            if last.len() > LOOKS {
                return Ok(now);
            }
        }
    }

    pub fn resident(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// The most that it ever held.
    pub fn peak(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|value| value.trim().split(' ').next());
        Ok(kib.ok_or("no such field")?.parse::<f64>()? / 1024.0)
    }

    /// Asks it to end, so that it gives the Lease back.
    pub fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // One that was asked to end has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The operator's own rights.
pub fn kubeconfig() -> Result<String> {
    Ok(std::env::var("PILOTHOUSE_BENCH_OPERATOR_KUBECONFIG")?)
}

async fn is_ready() -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(HEALTH).await?;
        let question = b"GET /readyz HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n";
        stream.write_all(question).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200"))
    };
    asked.await.unwrap_or(false)
}
