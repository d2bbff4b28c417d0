//! The stories of `e2e`: one program, because linking one for each takes longer than most of them play. Those that disturb nobody are played two at a time, the others one after the other, since some stop what others need.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    thread::{self, ScopedJoinHandle},
    time::Instant,
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

/// What stops nothing, changes nothing outside of its own namespaces, and mostly waits.
const CALM: [&str; 32] = [
    "admission",
    "archives",
    "bad_input",
    "bounds",
    "break_glass",
    "calendars",
    "charts",
    "command_line",
    "conflicts",
    "control",
    "doors",
    "files",
    "forged",
    "gate",
    "gitops",
    "health",
    "locks",
    "outputs",
    "parameters",
    "pod_steps",
    "policies",
    "posture",
    "protection",
    "regions",
    "risk",
    "rolling",
    "schema",
    "scripts_chart",
    "solution",
    "ticketed",
    "traces",
    "walls",
];
/// How many of those are played at once.
const LANES: usize = 2;

/// A story's name and its tests.
type Story<'a> = &'a [(String, String)];

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
    pub fn play(
        &self,
        chosen: impl Fn(&str) -> bool,
        set: impl Fn(&mut Command) + Sync,
    ) -> Result<()> {
        let all = self.tests.chunk_by(|(one, _), (other, _)| one == other);
        let all = all.filter(|tests| chosen(&tests[0].0));
        let (calm, others): (Vec<_>, Vec<_>) = all.partition(is_calm);
        let calm = Mutex::new(calm.into_iter());
        let next = || calm.lock().expect("no holder panics").next();
        let lane = || {
            let played = std::iter::from_fn(next).map(|tests| self.played(tests, &set));
            played.collect::<Result<Vec<_>>>()
        };
        let mut played = thread::scope(|scope| {
            let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
            let lanes = lanes.into_iter().map(ScopedJoinHandle::join);
            lanes
                .map(|lane| lane.expect("a story's player does not panic"))
                .collect::<Result<Vec<_>>>()
        })?
        .concat();
        for tests in others {
            played.push(self.played(tests, &set)?);
        }
        told(played.into_iter().flatten().collect())
    }

    /// What a story's tests said that failed, if any did; what it prints is shown whole, when it has ended.
    fn played(&self, tests: Story<'_>, set: &impl Fn(&mut Command)) -> Result<Option<Failed>> {
        let story = &tests[0].0;
        let mut program = Command::new(&self.program);
        program.args(&self.options).arg("--exact");
        program.args(tests.iter().map(|(_, test)| test));
        set(&mut program);
        let title = line(&program);
        let start = |source| Error::Start {
            line: title.clone(),
            source,
        };
        let mut running = program.stdout(Stdio::piped()).spawn().map_err(start)?;
        let printed = running.stdout.take().expect("it was piped");
        let (began, mut panics, mut shown) = (Instant::now(), Panics::default(), String::new());
        for line in BufReader::new(printed)
            .split(b'\n')
            .map_while(std::result::Result::ok)
        {
            let line = String::from_utf8_lossy(&line);
            shown.push_str(&line);
            shown.push('\n');
            panics.hear(&line);
        }
        let status = running.wait().map_err(start)?;
        let took = began.elapsed().as_secs();
        print!("\nStory {story}, {took} s\n{shown}");
        Ok((!status.success()).then(|| Failed {
            story: story.clone(),
            panics,
        }))
    }
}

/// A story that has failed, and what its tests said.
#[derive(Clone)]
struct Failed {
    story: String,
    panics: Panics,
}

fn is_calm(tests: &Story<'_>) -> bool {
    CALM.contains(&tests[0].0.as_str())
}

fn told(failed: Vec<Failed>) -> Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    for Failed { story, panics } in &failed {
        println!("\nStory {story} has failed:\n{}", panics.kept().join("\n"));
    }
    let failed: Vec<_> = failed.into_iter().map(|failed| failed.story).collect();
    Err(Error::Refused(format!(
        "these stories failed: {}",
        failed.join(", ")
    )))
}
