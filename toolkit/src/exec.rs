//! `toolkit exec`: starts an effect at most once, ever, and tells how it goes. Whoever comes second attaches; whoever comes after a death says that the run was lost.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use crds::journal::{Refused, Request};
use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, fork, pipe2, setsid};

use crate::account::Account;
use crate::epoch::Epoch;
use crate::error::{Error, Step as _};
use crate::facts::boot_id;
use crate::follow::{Followed, Follower};
use crate::journal::{Claim, Held, Journal, Stage};
use crate::lost::lose;
use crate::program::Executable;
use crate::request;
use crate::root::Root;
use crate::supervisor::{Task, supervise};
use crate::sweep::sweep_if_due;

/// Starts the effect, or attaches to it, and prints lines until its end.
pub fn exec(root: &std::path::Path) -> Result<(), Error> {
    let request: Request = request::read()?;
    request::check(&request)?;
    let root = Root::open(root)?;
    let journals = root.folder("journal")?;
    let mut epoch = Some(Epoch::hold(&root, &request.key, request.epoch)?);
    let digest = request.key.digest();
    let mut attached = true;
    let mut follower = Follower::new(request.resume_from);
    loop {
        let journal = Journal::open(&journals, &digest)?;
        let claim = journal.claim()?;
        sweep_if_due(&journals, &digest);
        // What is over stays held while it is told, so that no other start's sweep takes it away.
        let mut over = None;
        match claim {
            Claim::Gone => continue,
            Claim::Busy => {}
            Claim::Held(held) => match held.journal.stage()? {
                Stage::Ended(None, _) => return Err(Error::Cancelled),
                Stage::Ended(Some(_), _) => over = Some(held),
                Stage::Begun(begun) => {
                    lose(&held, &begun, &digest)?;
                    over = Some(held);
                }
                Stage::Fresh => {
                    start(held, &request, &journals, epoch.take())?;
                    attached = false;
                }
            },
        }
        // A new leader must not wait for the end of this run.
        drop(epoch.take());
        if let Followed::ToEnd = follower.follow(&journal, attached)? {
            return Ok(());
        }
        drop(over);
        epoch = Some(Epoch::hold(&root, &request.key, request.epoch)?);
    }
}

/// Puts the request on disk and leaves a supervisor behind; when this returns well, the beginning is on disk.
fn start(
    held: Held,
    request: &Request,
    journals: &OwnedFd,
    epoch: Option<Epoch>,
) -> Result<(), Error> {
    let digest = request.key.digest();
    let prepared = prepare(&held, request);
    let (account, program) = match prepared {
        Ok(found) => found,
        Err(error) => {
            // What a refused start has made is no journal; the next look finds a fresh one all the same.
            let _ = held.remove(journals, digest.as_ref());
            return Err(error);
        }
    };
    let task = Task {
        held,
        request: request.clone(),
        account,
        program,
        boot_id: boot_id(),
    };
    leave_supervisor(task, epoch)
}

fn prepare(held: &Held, request: &Request) -> Result<(Account, Executable), Error> {
    let account = Account::find(request.run_as.as_deref())?;
    let program = Executable::find(request, &account)?;
    held.prepare(request)?;
    Ok((account, program))
}

fn leave_supervisor(task: Task, epoch: Option<Epoch>) -> Result<(), Error> {
    let (told, tell) = pipe2(OFlag::O_CLOEXEC).writing("make a pipe")?;
    // SAFETY: the toolkit has one thread, so the child may do whatever its parent could.
    #[allow(
        unsafe_code,
        reason = "the supervisor must outlive the connection, and share the lock without a gap"
    )]
    match unsafe { fork() }.writing("make the supervisor")? {
        ForkResult::Child => {
            drop(told);
            detach();
            supervise(task, |begun| {
                let refused = begun.err().map(|error| error.refused());
                let _ =
                    File::from(tell).write_all(&serde_json::to_vec(&refused).expect("plain data"));
                drop(epoch);
            });
            std::process::exit(0)
        }
        ForkResult::Parent { .. } => {
            drop((tell, task, epoch));
            let mut answer = Vec::new();
            File::from(told)
                .read_to_end(&mut answer)
                .reading("hear from the supervisor")?;
            match serde_json::from_slice::<Option<Refused>>(&answer) {
                Ok(Some(refused)) => Err(Error::Refused(refused)),
                // A supervisor that died silently is found by whoever follows.
                Ok(None) | Err(_) => Ok(()),
            }
        }
    }
}

/// Lets go of the connection: its session, its terminal, its pipes.
fn detach() {
    let _ = setsid();
    let _ = nix::unistd::chdir("/");
    crate::descriptors::silence();
}
