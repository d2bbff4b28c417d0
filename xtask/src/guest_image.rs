//! The disk that all guests start from: a Debian with sshd and all a Kubernetes node runs; guests write to files of their own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cached::{self, Key},
    checkout::Checkout,
    error::{About, Result},
    preload,
    steps::{Log, Outcome, Steps},
    tools::Tools,
};

const SUITE: &str = "trixie";
const PACKAGES: &str = "busybox-static,ca-certificates,containernetworking-plugins,curl,dbus,iproute2,iptables,kmod,openssh-server,procps,\
    python3-minimal,runc,sqlite3,strace,sudo,systemd-sysv";

/// What a node runs beyond Debian's packages.
const NODE_TOOLS: [&str; 5] = [
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "kubelet",
    "kube-proxy",
];

/// `limited` logs in by password, `deploy` by key and may use sudo, root by key. UsePAM is off, so that an account without a
/// password must have `*` for one: `!` would count as locked. What is masked only costs time at boot, and so does what systemd
/// does once after an update, hence the last line. curl is where no script finds it, for stories that put it in the way.
const SETUP: &str = r"
    set -e
    ln -sf /usr/lib/cni/* /opt/cni/bin/
    update-alternatives --set iptables /usr/sbin/iptables-legacy
    update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy
    useradd --create-home --shell /bin/bash --password '*' deploy
    useradd --create-home --shell /bin/bash limited
    echo limited:pilothouse-test | chpasswd
    chmod 0440 /etc/sudoers.d/deploy
    ln -sf /etc/machine-id /var/lib/dbus/machine-id
    rm -f /etc/ssh/ssh_host_*
    mv /usr/bin/curl /usr/local/lib/curl
    systemctl enable ssh guest-seed containerd kubelet kube-proxy
    systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
        e2scrub_reap.service systemd-firstboot.service ssh.socket tmp.mount dev-hugepages.mount dev-mqueue.mount \
        sys-kernel-debug.mount sys-kernel-tracing.mount modprobe@drm.service modprobe@efi_pstore.service \
        modprobe@configfs.service getty@tty1.service console-getty.service serial-getty@.service
    touch /etc/.updated /var/.updated
";

/// Debian as debootstrap leaves it; kept apart, since it changes less often than what goes on top.
pub fn debian(steps: &Steps) -> Result<PathBuf> {
    let cache = Checkout::cache()?;
    steps.step("guest packages", |log| {
        let key = Key::default().with(SUITE).with(PACKAGES).name();
        cached::folder(&cache.join("guest"), "debian", &key, |folder| {
            let include = format!("--include={PACKAGES}");
            log.run(
                Command::new("debootstrap")
                    .args(["--variant=minbase", &include, SUITE])
                    .arg(folder),
            )
        })
    })
}

/// The disk image, made from Debian, `e2e/cluster/guest`, the tools and the base images.
pub fn disk(
    checkout: &Checkout,
    steps: &Steps,
    tools: &Tools,
    uml: &Path,
    debian: &Path,
) -> Result<PathBuf> {
    let cache = Checkout::cache()?;
    let recipe = checkout.recipe();
    steps.step("guest image", |log| {
        // The code is part of the recipe: what it does to the disk is written nowhere else.
        let key = Key::default()
            .with(include_str!("guest_image.rs"))
            .with(include_str!("preload.rs"))
            .with(include_str!("image.rs"));
        let mut key = key
            .with_folder(&recipe.join("guest"))?
            .with_file(&recipe.join("pause.c"))?;
        for path in NODE_TOOLS.iter().map(|tool| tools.path(tool)).chain([
            tools.path("coredns"),
            uml,
            debian,
        ]) {
            key = key.with(path.as_os_str().as_encoded_bytes());
        }
        let (folder, outcome): (PathBuf, Outcome) =
            cached::folder(&cache.join("guest"), "disk", &key.name(), |folder| {
                let root = folder.join("root");
                log.run(Command::new("cp").arg("-a").arg(debian).arg(&root))?;
                furnish(log, &recipe, tools, uml, &root)?;
                preload::images(log, tools, &recipe, &root)?;
                log.run(
                    Command::new("mke2fs")
                        .args(["-q", "-F", "-t", "ext4", "-d"])
                        .arg(&root)
                        .arg(folder.join("disk.img"))
                        .arg("6G"),
                )?;
                fs::remove_dir_all(&root).about("remove", &root)
            })?;
        Ok((folder.join("disk.img"), outcome))
    })
}

/// A file system of its own for the records, which fills without filling the node.
fn records_volume(log: &Log, root: &Path) -> Result<()> {
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-F", "-t", "ext4", "-m", "0"])
        .arg(root.join("var/lib/pilothouse-pv.img"))
        .arg("512M");
    log.run(&mut make)
}

fn furnish(log: &Log, recipe: &Path, tools: &Tools, uml: &Path, root: &Path) -> Result<()> {
    for folder in [
        "opt/cni/bin",
        "etc/cni/net.d",
        "lib/modules",
        "var/lib/pilothouse-pv",
    ] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).about("create", &folder)?;
    }
    log.run(
        Command::new("cp")
            .arg("-r")
            .arg(uml.join("usr/lib/uml/modules/."))
            .arg(root.join("lib/modules")),
    )?;
    log.run(
        Command::new("cp")
            .arg("-r")
            .arg(recipe.join("guest/."))
            .arg(root),
    )?;
    for tool in NODE_TOOLS {
        let target = root.join("usr/local/bin").join(tool);
        fs::copy(tools.path(tool), &target).about("write", &target)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))
            .about("protect", &target)?;
    }
    records_volume(log, root)?;
    log.run(
        Command::new("chroot")
            .arg(root)
            .args(["sh", "-c", SETUP])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    )
}
