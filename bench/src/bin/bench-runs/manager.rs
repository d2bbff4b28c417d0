//! The controller manager of Kubernetes, which ends with the value that holds it.

use std::process::{Child, Command, Stdio};

use crate::Result;

pub struct Manager(Child);

impl Manager {
    pub fn start(command: &[String], more: &[&str]) -> Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err("the command line of a controller manager is missing".into());
        };
        let mut manager = Command::new(program);
        manager.args(arguments).args(more).stderr(Stdio::null());
        Ok(Self(manager.spawn()?))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // By the id of our own child only; it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
