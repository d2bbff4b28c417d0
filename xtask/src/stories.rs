//! The stories of `e2e`: one program, because linking one for each takes longer than most of them play. They are played one after the other, since some stop what others need.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    checkout::Checkout,
    error::{Error, Result},
    panics::Panics,
    product,
    steps::{Steps, line},
};

/// The story that needs the version before.
pub const UPGRADE: &str = "upgrade";

/// The story that takes Pilothouse out of the cluster, which all others need.
pub const LAST: &str = "uninstall";

/// What needs no more than an API server.
pub const OF_THE_API: [&str; 5] = ["bounds", "examples", "frozen", "policies", "schema"];

pub struct Stories {
    program: PathBuf,
    /// By the story each belongs to.
    tests: Vec<(String, String)>,
    options: Vec<String>,
}

impl Stories {
    /// Those whose names contain one of the words, or all if there is none; words that begin with a dash are options of the test program.
    pub fn of(checkout: &Checkout, steps: &Steps, words: &[String]) -> Result<Self> {
        let (options, names): (Vec<_>, Vec<_>) = words
            .iter()
            .cloned()
            .partition(|word| word.starts_with('-'));
        let (program, listed) = steps.run("stories", |log| {
            let mut cargo = checkout.cargo();
            cargo.args(["test", "--no-run", "--workspace", "--test", "stories"]);
            let program = product::executables(log, &mut cargo)?.remove(0);
            let listed = log.read(Command::new(&program).args(["--list", "--format", "terse"]))?;
            Ok((program, listed))
        })?;
        let mut tests: Vec<_> = listed
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .filter(|test| names.is_empty() || names.iter().any(|name| test.contains(name)))
            .filter_map(|test| Some((test.split_once("::")?.0.to_owned(), test.to_owned())))
            .collect();
        tests.sort_by_key(|(story, _)| story == LAST);
        Ok(Self {
            program,
            tests,
            options,
        })
    }

    /// Plays all that are chosen, whatever becomes of those before; `set` says which cluster they are played on.
    pub fn play(&self, chosen: impl Fn(&str) -> bool, set: impl Fn(&mut Command)) -> Result<()> {
        let mut failed = Vec::new();
        for tests in self.tests.chunk_by(|(one, _), (other, _)| one == other) {
            let story = &tests[0].0;
            if !chosen(story) {
                continue;
            }
            println!("\nStory {story}");
            let mut program = Command::new(&self.program);
            program.args(&self.options).arg("--exact");
            program.args(tests.iter().map(|(_, test)| test));
            set(&mut program);
            if let Some(panics) = played(&mut program)? {
                failed.push((story.as_str(), panics));
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        for (story, panics) in &failed {
            println!("\nStory {story} has failed:\n{}", panics.kept().join("\n"));
        }
        let failed: Vec<_> = failed.iter().map(|(story, _)| *story).collect();
        Err(Error::Refused(format!(
            "these stories failed: {}",
            failed.join(", ")
        )))
    }
}

/// Shows what a program prints while it runs, and what its tests said that failed if any did.
fn played(program: &mut Command) -> Result<Option<Panics>> {
    let title = line(program);
    let start = |source| Error::Start {
        line: title.clone(),
        source,
    };
    let mut running = program.stdout(Stdio::piped()).spawn().map_err(start)?;
    let printed = running.stdout.take().expect("it was piped");
    let mut panics = Panics::default();
    for line in BufReader::new(printed).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        panics.hear(&line);
    }
    let status = running.wait().map_err(start)?;
    Ok((!status.success()).then_some(panics))
}
