//! Reads a request and checks it word by word. No message repeats a value of it: a value may be a secret.

use std::io::{BufRead as _, Read as _};

use crds::journal::{EFFECT_VARIABLE, Program, REQUEST_BYTES, Request, VERSION};
use crds::key::EffectKey;
use crds::mask::{self, Unmaskable};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Longest of a key's parts, and of names.
const NAME_BYTES: usize = 512;
/// Longest value of a variable, and argument: what the kernel takes, less the name.
const VALUE_BYTES: usize = (128 << 10) - NAME_BYTES;
/// Most output that can be kept; half of it is held in memory.
const KEEP_BYTES_MAX: u64 = 64 << 20;
/// Longest time between TERM and KILL.
const GRACE_SECONDS_MAX: u32 = 600;

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads the one line of standard input.
pub fn read<T: DeserializeOwned>() -> Result<T, Error> {
    let mut line = Vec::new();
    let limit = REQUEST_BYTES as u64 + 1;
    std::io::stdin()
        .lock()
        .take(limit)
        .read_until(b'\n', &mut line)
        .map_err(Error::ReadRequest)?;
    if line.len() > REQUEST_BYTES {
        return Err(bad(format!(
            "the request is longer than {REQUEST_BYTES} bytes"
        )));
    }
    parse(&line)
}

/// What the line asks for, if it is of the version spoken here.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, Error> {
    let Versioned { version } = serde_json::from_slice(line).map_err(|e| malformed(&e))?;
    if version != VERSION {
        return Err(Error::UnknownVersion(format!(
            "the request has version {version}, and this toolkit speaks version {VERSION}; send the toolkit of that version"
        )));
    }
    serde_json::from_slice(line).map_err(|e| malformed(&e))
}

fn malformed(error: &serde_json::Error) -> Error {
    bad(format!(
        "the request is not one of version {VERSION}: {:?} error at column {}",
        error.classify(),
        error.column()
    ))
}

fn bad(message: String) -> Error {
    Error::BadRequest(message)
}

/// Checks a key.
pub fn check_key(key: &EffectKey, epoch: i64) -> Result<(), Error> {
    for (name, part, may_be_empty) in [
        ("cluster", &key.cluster, false),
        ("plan", &key.plan, false),
        ("run", &key.run, false),
        ("step", &key.step, false),
        ("target", &key.target, true),
    ] {
        if part.len() > NAME_BYTES || (part.is_empty() && !may_be_empty) {
            return Err(bad(format!(
                "key.{name} has {} bytes, and 1 to {NAME_BYTES} are allowed",
                part.len()
            )));
        }
    }
    if key.attempt < 1 {
        return Err(bad(format!(
            "key.attempt is {}, and attempts count from 1",
            key.attempt
        )));
    }
    if epoch < 0 {
        return Err(bad(format!("epoch is {epoch}, and epochs count from 0")));
    }
    Ok(())
}

/// Checks what can be checked without looking at the host.
pub fn check(request: &Request) -> Result<(), Error> {
    check_key(&request.key, request.epoch)?;
    request
        .env
        .iter()
        .try_for_each(|(name, value)| check_variable(name, value))?;
    check_secrets(request)?;
    check_program(request)?;
    let bounds = [
        ("keepBytes", request.keep_bytes, 0, KEEP_BYTES_MAX),
        (
            "graceSeconds",
            request.grace_seconds.into(),
            0,
            GRACE_SECONDS_MAX.into(),
        ),
        (
            "timeoutSeconds",
            request.timeout_seconds.unwrap_or(1).into(),
            1,
            u32::MAX.into(),
        ),
    ];
    for (name, value, least, most) in bounds {
        if value < least || value > most {
            return Err(bad(format!(
                "{name} is {value}, and {least} to {most} are allowed"
            )));
        }
    }
    match &request.workdir {
        Some(folder) if !folder.starts_with('/') || folder.contains('\0') => {
            Err(bad("workdir is not an absolute path".into()))
        }
        _ => Ok(()),
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), Error> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !starts || !rest || name.len() > NAME_BYTES {
        return Err(bad(format!(
            "env has the name {:?}, and names are letters, digits and _, begin with no digit and have at most {NAME_BYTES} bytes",
            shortened(name)
        )));
    }
    if name == EFFECT_VARIABLE {
        return Err(bad(format!("env.{name} is set by the toolkit")));
    }
    if value.contains('\0') || value.len() > VALUE_BYTES {
        return Err(bad(format!(
            "env.{name} holds a zero byte or more than {VALUE_BYTES} bytes"
        )));
    }
    Ok(())
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn check_secrets(request: &Request) -> Result<(), Error> {
    let unmaskable = match mask::check(request.mask.iter().map(String::as_str)) {
        Ok(()) => return Ok(()),
        Err(unmaskable) => unmaskable,
    };
    let Unmaskable::TooShort { index } = unmaskable else {
        return Err(bad(format!("mask: {unmaskable}")));
    };
    let holders: Vec<&str> = request
        .env
        .iter()
        .filter(|(_, value)| **value == request.mask[index])
        .map(|(name, _)| name.as_str())
        .collect();
    let name = if holders.is_empty() {
        format!("mask[{index}]")
    } else {
        format!("env.{}", holders.join(", env."))
    };
    Err(Error::SecretTooShort(format!("{name}: {unmaskable}")))
}

fn check_program(request: &Request) -> Result<(), Error> {
    let Program::Argv(argv) = &request.program else {
        return Ok(());
    };
    if argv.first().is_none_or(String::is_empty) {
        return Err(bad("program.argv names no program".into()));
    }
    for (index, argument) in argv.iter().enumerate() {
        if argument.contains('\0') || argument.len() > VALUE_BYTES {
            return Err(bad(format!(
                "program.argv[{index}] holds a zero byte or more than {VALUE_BYTES} bytes"
            )));
        }
        let mut secrets = request
            .mask
            .iter()
            .filter(|secret| !secret.trim().is_empty());
        if secrets.any(|secret| argument.contains(secret.trim())) {
            return Err(Error::SecretInArguments(index));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crds::journal::{RefusedReason, Request};
    use serde_json::json;

    use super::{check, parse};

    fn refused(change: &serde_json::Value) -> (RefusedReason, String) {
        let mut request = json!({
            "version": 1, "epoch": 1, "program": {"argv": ["true"]},
            "key": {"attempt": 1, "cluster": "c", "plan": "p", "run": "r", "step": "s", "target": "t"},
        });
        for (name, value) in change.as_object().expect("object") {
            request[name] = value.clone();
        }
        let checked =
            parse::<Request>(request.to_string().as_bytes()).and_then(|request| check(&request));
        let refused = checked.expect_err("refused").refused();
        (refused.reason, refused.message)
    }

    type Case = (serde_json::Value, RefusedReason, &'static str);

    fn all_refused<const N: usize>(cases: [Case; N]) {
        for (change, reason, words) in cases {
            let (found, message) = refused(&change);
            assert_eq!(found, reason, "{change}: {message}");
            assert!(message.contains(words), "{change}: {message}");
        }
    }

    #[test]
    fn bad_names_and_versions_are_refused_by_name() {
        all_refused([
            (
                json!({"version": 2}),
                RefusedReason::UnknownVersion,
                "version 2",
            ),
            (json!({"env": {"1A": "x"}}), RefusedReason::BadRequest, "1A"),
            (
                json!({"env": {"A-B": "x"}}),
                RefusedReason::BadRequest,
                "A-B",
            ),
            (json!({"env": {"": "x"}}), RefusedReason::BadRequest, "\"\""),
            (
                json!({"env": {"A": "x\u{0}"}}),
                RefusedReason::BadRequest,
                "env.A",
            ),
            (
                json!({"env": {"PILOTHOUSE_EFFECT": "x"}}),
                RefusedReason::BadRequest,
                "PILOTHOUSE_EFFECT",
            ),
        ]);
    }

    #[test]
    fn bad_secrets_programs_and_bounds_are_refused_by_name() {
        all_refused([
            (
                json!({"mask": ["abc"], "env": {"PIN": "abc"}}),
                RefusedReason::SecretTooShort,
                "env.PIN",
            ),
            (
                json!({"mask": ["  abc "]}),
                RefusedReason::SecretTooShort,
                "mask[0]",
            ),
            (
                json!({"mask": ["x".repeat(70_000)]}),
                RefusedReason::BadRequest,
                "mask",
            ),
            (
                json!({"mask": ["hunter2"], "program": {"argv": ["a", "-phunter2"]}}),
                RefusedReason::SecretInArguments,
                "argument 1",
            ),
            (
                json!({"program": {"argv": []}}),
                RefusedReason::BadRequest,
                "program.argv",
            ),
            (
                json!({"timeoutSeconds": 0}),
                RefusedReason::BadRequest,
                "timeoutSeconds",
            ),
            (
                json!({"keepBytes": 1_u64 << 40}),
                RefusedReason::BadRequest,
                "keepBytes",
            ),
            (
                json!({"workdir": "tmp"}),
                RefusedReason::BadRequest,
                "workdir",
            ),
            (json!({"epoch": -1}), RefusedReason::BadRequest, "epoch"),
            (json!({"typo": 1}), RefusedReason::BadRequest, "column"),
        ]);
    }

    #[test]
    fn a_malformed_value_is_not_repeated() {
        let (_, message) = refused(&json!({"timeoutSeconds": "hunter2"}));
        assert!(!message.contains("hunter2"), "{message}");
    }
}
