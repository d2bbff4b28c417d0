//! A real sshd with its own configuration, answering on every address of 127/8.

use std::{fs::File, process::Command};

use crate::{
    Result,
    fixture::Fixture,
    process::{Server, free_port},
};

/// Starts an sshd with this `MaxStartups`.
pub async fn start(fixture: &Fixture, max_startups: &str) -> Result<Server> {
    let port = free_port()?;
    let folder = fixture.path("");
    let folder = folder.display();
    // Start-up files of this machine's user would be most of what is measured, on every side alike.
    let config = format!(
        "Port {port}\nListenAddress 0.0.0.0\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n\
         PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
         MaxStartups {max_startups}\nPrintMotd no\nPrintLastLog no\nLogLevel ERROR\n\
         SetEnv HOME={folder}/home\n"
    );
    let config = fixture.write("sshd_config", &config)?;
    if nix::unistd::Uid::effective().is_root() {
        // sshd wants its empty folder, which is made at boot and so is not there in every container.
        std::fs::create_dir_all("/run/sshd")?;
    }
    // Should the bench itself be killed, its sshd goes with it.
    let mut command = Command::new("/usr/bin/setpriv");
    command
        .args(["--pdeathsig", "TERM", "/usr/sbin/sshd", "-D", "-e", "-f"])
        .arg(config)
        .stderr(File::create(fixture.path("sshd.log"))?);
    Server::start(command, port).await
}
