//! Callers that keep their connections, as the API server does.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use reqwest::{Certificate, Client};
use tokio::time::{sleep, sleep_until, timeout};

use crate::{Result, door::ADDRESS, subject::HOST};

const CALLERS: usize = 16;
const TIME: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_mins(2);

/// Where reviews are asked about, and whose certificates are believed there.
pub struct Door {
    pub url: String,
    pub bundle: String,
}

/// One who asks, over one connection.
pub struct Caller {
    client: Client,
    url: String,
    /// What stands in an answer as it should be.
    wanted: &'static str,
}

/// One connection each, once what has to be refused is refused there.
pub async fn callers(door: &Door, forbidden: &str) -> Result<Vec<Caller>> {
    let address = ADDRESS.parse()?;
    let caller = || {
        let roots = Certificate::from_pem_bundle(door.bundle.as_bytes())?;
        let builder = Client::builder().tls_certs_only(roots).http1_only();
        Ok(Caller {
            client: builder.resolve(HOST, address).build()?,
            url: door.url.clone(),
            wanted: "\"allowed\":true",
        })
    };
    let callers: Vec<Caller> = (0..CALLERS).map(|_| caller()).collect::<Result<_>>()?;
    let refuses = async {
        while !matches!(callers[0].answer(forbidden.to_owned()).await, Ok(answer) if answer.contains("\"allowed\":false"))
        {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, refuses).await?;
    Ok(callers)
}

/// The same, who ask a policy that nobody wrote: what connection, machine and scheduler take where nothing is judged.
pub fn unjudged(callers: &[Caller], door: &Door) -> Vec<Caller> {
    let nowhere = |caller: &Caller| Caller {
        client: caller.client.clone(),
        url: door.url.replacen("/commands/", "/commands/no-", 1),
        wanted: "is not known here",
    };
    callers.iter().map(nowhere).collect()
}

/// Milliseconds from when a request was due to its answer; from when it was sent, where it was the timer alone that was late.
pub struct Times {
    pub p50: f64,
    pub p99: f64,
    worst: f64,
    count: usize,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            p50,
            p99,
            worst,
            count,
        } = self;
        write!(
            f,
            "{count} answers, p50 {p50:.2} ms, p99 {p99:.2} ms, worst {worst:.2} ms"
        )
    }
}

impl Times {
    pub fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at =
            |share: usize| all[(all.len() * share / 1000).min(all.len() - 1)].as_secs_f64() * 1e3;
        Self {
            p50: at(500),
            p99: at(990),
            worst: at(1000),
            count: all.len(),
        }
    }
}

/// So many requests a second over all callers, whether or not answers come.
pub async fn paced(callers: &[Caller], body: impl Fn(u32) -> String, rate: u32) -> Result<Times> {
    let body = &body;
    warm(callers, &body(0)).await?;
    let count = rate.saturating_mul(u32::try_from(TIME.as_secs())?);
    let start = Instant::now() + Duration::from_millis(50);
    let own = callers.iter().enumerate().map(|(n, caller)| async move {
        let mut times = Vec::new();
        for turn in (u32::try_from(n)?..count).step_by(CALLERS) {
            let due = start + Duration::from_secs(1) / rate * turn;
            let (body, was_free) = (body(turn), Instant::now() < due);
            sleep_until(due.into()).await;
            let sent = if was_free { Instant::now() } else { due };
            caller.ask(body).await?;
            times.push(sent.elapsed());
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times)
    });
    Ok(Times::of(try_join_all(own).await?.concat()))
}

/// As many as there can be, a second.
pub async fn unpaced(callers: &[Caller], body: &str) -> Result<f64> {
    warm(callers, body).await?;
    let start = Instant::now();
    let own = callers.iter().map(|caller| async move {
        let mut count = 0_u32;
        while start.elapsed() < TIME {
            caller.ask(body.to_owned()).await?;
            count += 1;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(count)
    });
    let count: u32 = try_join_all(own).await?.into_iter().sum();
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

async fn warm(callers: &[Caller], body: &str) -> Result<()> {
    try_join_all(callers.iter().map(|caller| caller.ask(body.to_owned()))).await?;
    Ok(())
}

impl Caller {
    async fn ask(&self, body: String) -> Result<()> {
        let answer = self.answer(body).await?;
        if answer.contains(self.wanted) {
            Ok(())
        } else {
            Err(format!("refused: {answer}").into())
        }
    }

    async fn answer(&self, body: String) -> Result<String> {
        let request = self.client.post(&self.url);
        let request = request.header("content-type", "application/json");
        let answer = request.body(body).send().await?;
        Ok(answer.text().await?)
    }
}
