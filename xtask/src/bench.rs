//! `bench NAME`: a release build of one bench, its output passed through.

use crate::{
    checkout::Checkout,
    error::{Error, Result},
    steps::line,
};

/// Each bench, and the crate that has it as a binary of the name `bench-NAME`.
const BENCHES: [(&str, &str); 2] = [("fanout", "reach"), ("records", "records")];

pub fn bench(checkout: &Checkout, name: &str, arguments: &[String]) -> Result<()> {
    let Some((_, package)) = BENCHES.iter().find(|(bench, _)| *bench == name) else {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        return Err(Error::Refused(format!(
            "no bench is called '{name}'; there are: {}",
            names.join(", ")
        )));
    };
    let mut cargo = checkout.cargo();
    cargo
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            package,
            "--bin",
            &format!("bench-{name}"),
            "--",
        ])
        .args(arguments);
    let status = cargo.status().map_err(|source| Error::Start {
        line: line(&cargo),
        source,
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            line: line(&cargo),
            status: status.to_string(),
        })
    }
}
