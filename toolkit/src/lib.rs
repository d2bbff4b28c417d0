//! The one binary that runs on targets. It starts effects exactly once, keeps what they put out, and tells it to whoever asks with the same key.

mod account;
mod cancel;
mod child;
mod descriptors;
mod ending;
mod epoch;
mod error;
mod exec;
mod facts;
mod family;
mod follow;
pub mod journal;
mod lost;
pub mod output;
mod program;
pub mod request;
mod root;
pub mod slots;
mod supervisor;
mod sweep;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crds::journal::{Line, ROOT, ToolkitVersion, VERSION};

use error::Error;

const USAGE: &str = "usage: toolkit exec|cancel|forget|facts|version|sweep [--root FOLDER]";

/// What the binary does with its arguments and standard input.
pub fn main() -> ExitCode {
    descriptors::begin();
    let mut words = std::env::args_os().skip(1);
    let verb = words
        .next()
        .and_then(|word| word.into_string().ok())
        .unwrap_or_default();
    let root = match (words.next(), words.next(), words.next()) {
        (None, ..) => PathBuf::from(ROOT),
        (Some(flag), Some(folder), None) if flag == "--root" => PathBuf::from(folder),
        _ => return usage(),
    };
    match run(&verb, &root) {
        None => usage(),
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => report(&error),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn run(verb: &str, root: &Path) -> Option<Result<(), Error>> {
    Some(match verb {
        "exec" => exec::exec(root),
        "cancel" => cancel::cancel(root),
        "forget" => cancel::forget(root),
        "sweep" => sweep::sweep(root),
        "facts" => follow::print(&facts::gather()),
        "version" => follow::print(&ToolkitVersion {
            version: env!("CARGO_PKG_VERSION").into(),
            journal: VERSION,
        }),
        _ => return None,
    })
}

/// Tells a refusal as a line, and anything that cut the lines short on standard error.
fn report(error: &Error) -> ExitCode {
    if matches!(error, Error::Tell(_) | Error::Cut(_)) {
        eprintln!("{}", error.story());
        return ExitCode::FAILURE;
    }
    match follow::tell(&Line::Refused(error.refused())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
