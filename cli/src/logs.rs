//! What a run's steps printed, each line with the step and target that it is of.

use futures::AsyncReadExt as _;

use crate::{
    archives,
    args::LogsArgs,
    choice::{Choice, Mark, PIECE},
    cluster::Cluster,
    error::{Error, Result},
    executions::{self, Row},
    follow, output, terminal,
};

pub async fn logs(cluster: &Cluster, asked: &LogsArgs) -> Result<u8> {
    let mark = if asked.no_prefix {
        Mark::Nothing
    } else {
        Mark::StepAndTarget
    };
    let choice = Choice {
        target: asked.target.clone(),
        step: asked.step.clone(),
        mark,
    };
    let run = archives::run(cluster, &asked.run).await?;
    if asked.follow {
        follow::follow(cluster, &run, &choice).await?;
        return Ok(0);
    }
    let rows = executions::list(cluster, &run).await?;
    let chosen: Vec<_> = rows.iter().filter(|row| choice.takes(row)).collect();
    if chosen.is_empty() {
        eprintln!("{}", terminal::clean(&nothing(cluster, asked, &rows)));
    }
    for row in chosen {
        print(cluster, row, &choice).await?;
    }
    Ok(0)
}

async fn print(cluster: &Cluster, row: &Row, choice: &Choice) -> Result<()> {
    let mut log = std::pin::pin!(executions::log(cluster, &row.name, 0, false).await?);
    let (mut lines, mut piece) = (choice.lines(row), vec![0; PIECE]);
    loop {
        let read = log.read(&mut piece).await.map_err(|source| Error::Cut {
            name: row.name.clone(),
            source,
        })?;
        if read == 0 {
            break;
        }
        output::bytes(&lines.push(&piece[..read]))?;
    }
    output::bytes(&lines.finish())
}

/// Why there is nothing to print.
fn nothing(cluster: &Cluster, asked: &LogsArgs, rows: &[Row]) -> String {
    if rows.is_empty() {
        return format!(
            "nothing has started yet; `{}` says what the run waits for",
            cluster.command(&format!("explain {}", asked.run))
        );
    }
    let mut there: Vec<_> = rows
        .iter()
        .map(|r| format!("{}/{}", r.execution.step, r.execution.target))
        .collect();
    there.dedup();
    format!(
        "no execution is of this step and target; there are {}",
        there.join(", ")
    )
}
