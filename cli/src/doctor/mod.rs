//! Checks the installation and the caller's rights; every finding names what is missing and what to do.

mod installation;
mod records;
mod rights;
mod runner;

use serde::Serialize;

use crate::{
    args::DoctorArgs,
    cluster::Cluster,
    error::{Error, Result},
    output::{self, Format},
    scope::Scope,
    table::table,
};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Level {
    Good,
    /// Something that the caller, or runs here, cannot do; it may well be meant so.
    Lacking,
    /// The caller may not look.
    NotChecked,
    /// Something that nobody can work with.
    Broken,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Good,
            found: found.into(),
            fix: None,
        }
    }

    fn bad(
        check: &'static str,
        level: Level,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            check,
            level,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    /// A look that the API server did not allow, or that failed.
    fn unseen(check: &'static str, what: &str, error: &kube::Error) -> Self {
        let why = match error {
            kube::Error::Api(status) if status.code == 403 => "you may not look".to_owned(),
            kube::Error::Api(status) => status.message.clone(),
            error => error.to_string(),
        };
        Self {
            check,
            level: Level::NotChecked,
            found: format!("{what}: {why}"),
            fix: None,
        }
    }
}

pub async fn doctor(cluster: &Cluster, asked: &DoctorArgs, format: Option<Format>) -> Result<u8> {
    // Everything else would only repeat that the cluster does not answer.
    let version = cluster
        .client
        .apiserver_version()
        .await
        .map_err(|e| Error::Api {
            doing: "reach the cluster".into(),
            source: Box::new(e),
        })?;
    let mut findings = vec![installation::kubernetes(&version)];
    let operator = installation::operator(cluster, &asked.system_namespace).await;
    let scope = operator.as_ref().map(Scope::of).unwrap_or_default();
    let (mut more, records, rights, runner) = tokio::join!(
        installation::look(cluster, asked, operator.as_ref()),
        records::look(cluster),
        rights::look(cluster, asked, &scope),
        runner::look(cluster, asked, &scope),
    );
    findings.append(&mut more);
    findings.extend(records.into_iter().chain(rights).chain(runner));
    let names = findings
        .iter()
        .filter(|f| f.level != Level::Good)
        .map(|f| f.check)
        .collect::<Vec<_>>()
        .join("\n");
    output::result(&findings, format, &names, |_| text(&findings))?;
    Ok(u8::from(findings.iter().any(|f| f.level == Level::Broken)))
}

/// Whether the admission policies of the chart are in force.
pub async fn guards(cluster: &Cluster, system: &str) -> Vec<Finding> {
    let operator = installation::operator(cluster, system).await;
    installation::guards(cluster, operator.as_ref()).await
}

/// Findings as a table, and what to do about them.
pub fn text(findings: &[Finding]) -> String {
    let word = |level| match level {
        Level::Good => "ok",
        Level::Lacking => "lacking",
        Level::NotChecked => "not checked",
        Level::Broken => "BROKEN",
    };
    let row = |f: &Finding| {
        vec![
            f.check.to_owned(),
            word(f.level).to_owned(),
            f.found.clone(),
        ]
    };
    let mut out = table(
        &["CHECK", "RESULT", "FOUND"],
        &findings.iter().map(row).collect::<Vec<_>>(),
    );
    let fixes: String = findings
        .iter()
        .filter_map(|f| Some(format!("{}: {}\n", f.check, f.fix.as_ref()?)))
        .collect();
    if !fixes.is_empty() {
        out.push_str(&format!("\nWhat to do:\n{fixes}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Finding, Level, text};

    #[test]
    fn what_is_missing_is_followed_by_what_to_do() {
        let findings = [
            Finding::good("kinds", "5 of 5"),
            Finding::bad("operator", Level::Broken, "no Lease", "look at its pods"),
        ];
        let wanted = "CHECK      RESULT   FOUND\nkinds      ok       5 of 5\noperator   BROKEN   no Lease\n\nWhat to do:\noperator: look at its pods\n";
        assert_eq!(text(&findings), wanted);
    }
}
