//! A request of a step: what it sends, and whether the answer is what was expected.

use std::{collections::BTreeMap, fmt::Write as _};

use crds::{
    execution::State,
    journal::Stream,
    v1alpha1::{HttpExpect, HttpStep},
};
use decide::{parameters, plan::Value};
use reach::http::{self, Answer, Request};
use secrecy::SecretString;
use tokio::time::timeout;

use super::{Outcome, Work};
use crate::error::chain;

/// Sends the request once, and judges the answer.
pub async fn request(work: &Work, step: &HttpStep, headers: &BTreeMap<String, Value>) -> Outcome {
    match work.prepared(|| prepared(work, step, headers)).await {
        Ok((request, mask)) => sent(work, step, &request, &mask).await,
        Err(outcome) => outcome,
    }
}

async fn prepared(
    work: &Work,
    step: &HttpStep,
    headers: &BTreeMap<String, Value>,
) -> Result<(Request, Vec<SecretString>), Outcome> {
    let values = work.values(headers).await?;
    let body = step
        .body
        .as_ref()
        .map(|body| work.render("http.body", body))
        .transpose()?;
    let traced = work
        .traceparent()
        .map(|place| ("traceparent".to_owned(), place));
    let mut headers: Vec<_> = values.env.into_iter().collect();
    headers.extend(
        traced.filter(|(own, _)| !step.headers.keys().any(|n| n.eq_ignore_ascii_case(own))),
    );
    let request = Request {
        method: step.method,
        url: work.render("http.url", &step.url)?,
        headers,
        body,
        ca_bundle: step.ca_bundle.clone(),
        connect: work.step().delivery_timeout.get(),
    };
    Ok((request, values.mask))
}

async fn sent(work: &Work, step: &HttpStep, request: &Request, mask: &[SecretString]) -> Outcome {
    let asked = timeout(
        work.step().timeout.get(),
        work.ctx.ways.outbound.send(request),
    );
    let answer = tokio::select! {
        answer = asked => answer,
        () = work.cancel.cancelled() => return broken_off(step, State::Cancelled, "Cancelled", "cancelled before the answer"),
    };
    match answer {
        Err(_) => broken_off(
            step,
            State::TimedOut,
            "TimedOut",
            "no answer within the step's timeout",
        ),
        Ok(Err(error)) => refused(step, &error),
        Ok(Ok(answer)) => match written(work, &answer, mask).await {
            Ok(bytes) => Outcome {
                output_bytes: bytes,
                ..judged(&step.expect, &answer)
            },
            Err(outcome) => outcome,
        },
    }
}

/// A request that may have an effect, and whose answer nobody has seen, may have had it.
fn broken_off(step: &HttpStep, state: State, reason: &str, message: &str) -> Outcome {
    if step.method.is_safe() {
        return Outcome::new(state, reason, message);
    }
    let message = format!("{message}; it may have had its effect and is not repeated");
    Outcome::new(State::Unknown, reason, message)
}

fn refused(step: &HttpStep, error: &http::Error) -> Outcome {
    if !error.is_before() {
        return broken_off(step, State::Failed, error.reason(), &chain(error));
    }
    // A server that is not there is what a check is for; whoever wants to wait for it gives retries.
    let state = if error.is_passing() {
        State::Failed
    } else {
        State::Undeliverable
    };
    Outcome::new(state, error.reason(), chain(error))
}

/// The answer becomes the log of the execution, masked and bounded as all output is.
async fn written(work: &Work, answer: &Answer, mask: &[SecretString]) -> Result<u64, Outcome> {
    let mut text = format!("HTTP {}\n", answer.status.as_u16());
    for (name, value) in &answer.headers {
        let _ = writeln!(
            text,
            "{name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    text.push('\n');
    let (mut recorder, forwarding) = work.recording(mask)?;
    recorder.record(Stream::Stdout, text.as_bytes()).await;
    recorder.record(Stream::Stdout, &answer.body).await;
    let volume = recorder.finish().await;
    forwarding.await.expect("forwarding does not panic");
    Ok(volume.output_bytes)
}

fn judged(expect: &HttpExpect, answer: &Answer) -> Outcome {
    match unmet(expect, answer) {
        None => Outcome::new(State::Succeeded, "", ""),
        Some(message) => Outcome::new(State::Failed, "UnexpectedAnswer", message),
    }
}

/// The first thing in which the answer is not what was expected.
fn unmet(expect: &HttpExpect, answer: &Answer) -> Option<String> {
    let status = i32::from(answer.status.as_u16());
    let usual = expect.status.is_empty() && answer.status.is_success();
    if !usual && !expect.status.contains(&status) {
        return Some(format!("the status is {status}"));
    }
    for (name, pattern) in &expect.headers {
        let all = answer.headers.get_all(name).iter();
        let mut values = all.map(|value| String::from_utf8_lossy(value.as_bytes()));
        if !values.any(|value| parameters::is_in(pattern, &value)) {
            return Some(format!("no header {name} matches {pattern}"));
        }
    }
    let body = expect.body.as_ref()?;
    let text = String::from_utf8_lossy(&answer.body);
    (!parameters::is_in(body, &text)).then(|| format!("the body does not match {body}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_by_status_headers_and_body() {
        let mut headers = ::http::HeaderMap::new();
        headers.insert("content-type", "application/json".parse().expect("valid"));
        let answer = |status: u16| Answer {
            status: ::http::StatusCode::from_u16(status).expect("valid"),
            headers: headers.clone(),
            body: br#"{"status":"UP"}"#.to_vec(),
        };
        let expect = |json: &str| serde_json::from_str::<HttpExpect>(json).expect("valid");
        for (given, status, unmet_by) in [
            ("{}", 204, None),
            ("{}", 302, Some("the status is 302")),
            (r#"{"status":[302]}"#, 302, None),
            (r#"{"status":[302]}"#, 200, Some("the status is 200")),
            (r#"{"body":"\"UP\""}"#, 200, None),
            (
                r#"{"body":"DOWN"}"#,
                200,
                Some("the body does not match DOWN"),
            ),
            (r#"{"headers":{"Content-Type":"json"}}"#, 200, None),
            (
                r#"{"headers":{"etag":"."}}"#,
                200,
                Some("no header etag matches ."),
            ),
        ] {
            let got = unmet(&expect(given), &answer(status));
            assert_eq!(got.as_deref(), unmet_by, "{given} {status}");
        }
    }
}
