//! The images that every cluster needs, put into a guest's disk while it is made, so that no `up` imports them again.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    error::{About, Error, Result},
    image::{Image, Layer},
    steps::{Log, line, wait_for},
    tools::Tools,
};

/// Imports pause, CoreDNS, BusyBox and the image without a shell into the containerd of the root folder.
pub fn images(log: &Log, tools: &Tools, recipe: &Path, root: &Path) -> Result<()> {
    let work = std::env::temp_dir().join(format!("pilothouse-preload-{}", std::process::id()));
    fs::create_dir_all(&work).about("create", &work)?;
    let imported = write(log, tools, recipe, root, &work)
        .and_then(|archives| import(log, tools, root, &work, &archives));
    fs::remove_dir_all(&work).about("remove", &work)?;
    imported
}

fn write(
    log: &Log,
    tools: &Tools,
    recipe: &Path,
    root: &Path,
    work: &Path,
) -> Result<Vec<PathBuf>> {
    let pause = work.join("pause");
    log.run(
        Command::new("cc")
            .args(["-static", "-Os", "-s", "-o"])
            .arg(&pause)
            .arg(recipe.join("pause.c")),
    )?;
    let pause = fs::read(&pause).about("read", pause)?;
    let coredns = fs::read(tools.path("coredns")).about("read", tools.path("coredns"))?;
    let mut archives = Vec::new();
    for (name, program, data) in [
        ("local/pause:1", "/pause", &pause),
        ("local/distroless:1", "/pause", &pause),
        ("local/coredns:1", "/coredns", &coredns),
    ] {
        let mut layer = Layer::default();
        layer.file(program.trim_start_matches('/'), 0o755, data);
        archives.push(work.join(format!("{}.tar", archives.len())));
        Image {
            name,
            entrypoint: &[program],
            user: "0:0",
        }
        .write(layer, archives.last().expect("just pushed"))?;
    }
    archives.push(busybox(log, root, work)?);
    Ok(archives)
}

fn busybox(log: &Log, root: &Path, work: &Path) -> Result<PathBuf> {
    let program = root.join("bin/busybox");
    let mut layer = Layer::default();
    layer.folder("bin", 0o755);
    layer.file(
        "bin/busybox",
        0o755,
        &fs::read(&program).about("read", &program)?,
    );
    for applet in log
        .read(Command::new(&program).arg("--list"))?
        .lines()
        .filter(|&applet| applet != "busybox")
    {
        layer.link(&format!("bin/{applet}"), "busybox");
    }
    let archive = work.join("busybox.tar");
    Image {
        name: "local/busybox:1",
        entrypoint: &[],
        user: "0:0",
    }
    .write(layer, &archive)?;
    Ok(archive)
}

fn import(log: &Log, tools: &Tools, root: &Path, work: &Path, archives: &[PathBuf]) -> Result<()> {
    let socket = work.join("containerd.sock");
    let mut containerd = start(log, tools, root, work)?;
    let ctr = || {
        let mut ctr = tools.command("ctr");
        ctr.arg("--address")
            .arg(&socket)
            .args(["--namespace", "k8s.io"]);
        ctr
    };
    let mut imported = wait_for(
        "containerd on the build machine",
        Duration::from_secs(30),
        || log.ask(ctr().arg("version")),
    );
    for archive in archives {
        imported = imported.and_then(|()| log.run(ctr().args(["images", "import"]).arg(archive)));
    }
    let pid = i32::try_from(containerd.id()).expect("Linux process ids fit i32");
    let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
    let status = containerd.wait().map_err(|source| Error::Start {
        line: "containerd".into(),
        source,
    })?;
    imported.and_then(|()| {
        if status.success() {
            Ok(())
        } else {
            Err(Error::Failed {
                line: "containerd".into(),
                status: status.to_string(),
            })
        }
    })
}

/// A containerd with the root folder's store, in a mount namespace of its own.
fn start(log: &Log, tools: &Tools, root: &Path, work: &Path) -> Result<Child> {
    let config = work.join("config.toml");
    let text = format!(
        "version = 3\nroot = '{root}/var/lib/containerd'\nstate = '{work}/state'\n\
         disabled_plugins = ['io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime', 'io.containerd.grpc.v1.cri', 'io.containerd.nri.v1.nri', 'io.containerd.internal.v1.opt']\n\
         [grpc]\naddress = '{work}/containerd.sock'\n[ttrpc]\naddress = '{work}/containerd.ttrpc.sock'\n",
        root = root.display(),
        work = work.display()
    );
    fs::write(&config, text).about("write", &config)?;
    fs::set_permissions(work, fs::Permissions::from_mode(0o700)).about("protect", work)?;
    let mut command = Command::new("unshare");
    command
        .arg("--mount")
        .arg(tools.path("containerd"))
        .arg("--config")
        .arg(&config);
    let file = || {
        fs::File::options()
            .create(true)
            .append(true)
            .open(log.path())
            .about("open", log.path())
    };
    let child = command
        .stdin(Stdio::null())
        .stdout(file()?)
        .stderr(file()?)
        .spawn();
    child.map_err(|source| Error::Start {
        line: line(&command),
        source,
    })
}
