//! The network namespace of the local cluster, entered from outside.

use std::{fs::File, thread};

use nix::sched::{CloneFlags, setns};

use crate::stage::netns;

/// Does something in there. What a thread opens or starts belongs to the namespace that it is in, so only one of its own has to go.
pub fn within<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let done = scope.spawn(|| {
            let namespace = File::open(format!("/run/netns/{}", netns()));
            let namespace = namespace.expect("the network namespace is there");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root enters it");
            act()
        });
        done.join().expect("what is done there does not panic")
    })
}
