//! The way out: text for people, stripped where a terminal reads it, and the same results for programs.

use std::io::{Write as _, stdout};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    terminal,
};

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Yaml,
    /// More columns for people
    Wide,
    /// The object's kind and name alone
    Name,
}

impl Format {
    /// Whether people read it while it is made.
    pub fn is_for_people(format: Option<Self>) -> bool {
        matches!(format, None | Some(Self::Wide))
    }
}

/// Prints text for people.
pub fn text(text: &str) -> Result<()> {
    if terminal::is_terminal() {
        return bytes(terminal::clean(text).as_bytes());
    }
    bytes(text.as_bytes())
}

/// Prints bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// Prints a result in the format asked for; `name` is its kind and name, `people` its form for people.
pub fn result<T: Serialize>(
    value: &T,
    format: Option<Format>,
    name: &str,
    people: impl FnOnce(bool) -> String,
) -> Result<()> {
    match format {
        None => text(&people(false)),
        Some(Format::Wide) => text(&people(true)),
        Some(Format::Name) => text(&format!("{name}\n")),
        Some(Format::Json) => {
            let json = serde_json::to_string_pretty(value).map_err(Error::Json)?;
            text(&format!("{json}\n"))
        }
        Some(Format::Yaml) => text(&serde_saphyr::to_string(value).map_err(Error::Yaml)?),
    }
}
