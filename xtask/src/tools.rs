//! Kubernetes, containerd, CoreDNS and Helm, and what asks the libraries of GitOps tools, built from their Go modules; `e2e/cluster/*/go.mod` pin the versions.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    cached::{self, Key},
    checkout::Checkout,
    error::{About, Error, Result},
    steps::Steps,
};

/// Without these the programs call themselves v0.0.0.
const KUBERNETES: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

const OLDEST_KUBERNETES: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.33.13 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=33";

/// A Go module of its own: their dependencies clash in one.
struct Module {
    name: &'static str,
    flags: &'static [&'static str],
    link: &'static str,
    /// Without cgo a binary is static and fits an empty image.
    cgo: bool,
    packages: &'static [&'static str],
}

/// All that a cluster that is already there needs.
const CLIENTS: [Module; 3] = [
    Module {
        name: "addons",
        flags: &[],
        link: "-s -w",
        cgo: false,
        packages: &["helm.sh/helm/v4/cmd/helm"],
    },
    Module {
        name: "kubernetes",
        flags: &[],
        link: KUBERNETES,
        cgo: true,
        packages: &["k8s.io/kubernetes/cmd/kubectl"],
    },
    Module {
        name: "health",
        flags: &[],
        link: "-s -w",
        cgo: false,
        packages: &["./health"],
    },
];

const ETCD: [Module; 1] = [Module {
    name: "kubernetes",
    flags: &[],
    link: "-s -w",
    cgo: true,
    packages: &["go.etcd.io/etcd/server/v3"],
}];

const APISERVER: [Module; 1] = [Module {
    name: "kubernetes",
    flags: &[],
    link: KUBERNETES,
    cgo: true,
    packages: &["k8s.io/kubernetes/cmd/kube-apiserver"],
}];

/// The oldest Kubernetes that Pilothouse is for.
const OLDEST: [Module; 1] = [Module {
    name: "kubernetes-1.33",
    flags: &[],
    link: OLDEST_KUBERNETES,
    cgo: true,
    packages: &[
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ],
}];

const MANAGER: [Module; 1] = [Module {
    name: "kubernetes",
    flags: &[],
    link: KUBERNETES,
    cgo: true,
    packages: &["k8s.io/kubernetes/cmd/kube-controller-manager"],
}];

const NODES: [Module; 4] = [
    Module {
        name: "kubernetes",
        flags: &[],
        link: KUBERNETES,
        cgo: true,
        packages: &[
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-proxy",
        ],
    },
    Module {
        name: "etcdutl",
        flags: &[],
        link: "-s -w",
        cgo: false,
        packages: &["go.etcd.io/etcd/etcdutl/v3"],
    },
    Module {
        name: "containerd",
        flags: &["-tags", "no_btrfs no_zfs"],
        link: "-s -w",
        cgo: true,
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
        ],
    },
    Module {
        name: "addons",
        flags: &[],
        link: "-s -w",
        cgo: false,
        packages: &["./coredns"],
    },
];

/// The peer of the webhook.
const KYVERNO: &str = "github.com/kyverno/kyverno";
const PEER: Module = Module {
    name: "kyverno",
    flags: &[],
    link: "-s -w",
    cgo: false,
    packages: &["github.com/kyverno/kyverno/cmd/kyverno"],
};

/// Kyverno's admission controller, and the folder with its kinds.
pub struct Kyverno {
    pub program: PathBuf,
    pub kinds: PathBuf,
}

impl Kyverno {
    pub fn build(checkout: &Checkout, steps: &Steps) -> Result<Self> {
        let program = PEER.build(PEER.packages[0], checkout, steps)?;
        let kinds = steps.run("kinds of Kyverno", |log| {
            let mut go = Command::new("go");
            go.current_dir(checkout.recipe().join(PEER.name));
            // They are a part of its module, which is there again where it was thrown away.
            let text = log.read(go.args(["mod", "download", "-json", KYVERNO]))?;
            let module: Value = serde_json::from_str(&text).map_err(|source| Error::Json {
                what: "go mod download".into(),
                source,
            })?;
            let folder = module["Dir"].as_str().unwrap_or_default();
            Ok(Path::new(folder).join("config/crds"))
        })?;
        Ok(Self { program, kinds })
    }
}

/// The binaries, by their usual names.
pub struct Tools {
    files: Vec<PathBuf>,
}

impl Tools {
    pub fn clients(checkout: &Checkout, steps: &Steps) -> Result<Self> {
        Self::build(&[&CLIENTS], checkout, steps)
    }

    pub fn cluster(checkout: &Checkout, steps: &Steps) -> Result<Self> {
        let all: [&[Module]; 5] = [&CLIENTS, &ETCD, &APISERVER, &MANAGER, &NODES];
        Self::build(&all, checkout, steps)
    }

    /// For a control plane without nodes.
    pub fn plane(checkout: &Checkout, steps: &Steps) -> Result<Self> {
        Self::build(&[&CLIENTS, &ETCD, &APISERVER, &MANAGER], checkout, steps)
    }

    /// For a control plane without nodes of the oldest Kubernetes.
    pub fn oldest_plane(checkout: &Checkout, steps: &Steps) -> Result<Self> {
        Self::build(&[&CLIENTS, &ETCD, &OLDEST], checkout, steps)
    }

    fn build(modules: &[&[Module]], checkout: &Checkout, steps: &Steps) -> Result<Self> {
        let mut files = Vec::new();
        for (module, package) in modules.iter().copied().flatten().flat_map(|module| {
            module
                .packages
                .iter()
                .map(move |package| (module, *package))
        }) {
            files.push(module.build(package, checkout, steps)?);
        }
        Ok(Self { files })
    }

    pub fn path(&self, name: &str) -> &Path {
        self.files
            .iter()
            .find(|file| file.ends_with(name))
            .expect("every tool that is asked for is in the tables above")
    }

    pub fn command(&self, name: &str) -> Command {
        Command::new(self.path(name))
    }
}

impl Module {
    fn build(&self, package: &str, checkout: &Checkout, steps: &Steps) -> Result<PathBuf> {
        let name = binary(package);
        let source = checkout.recipe().join(self.name);
        let cache = Checkout::cache()?;
        steps.step(&format!("tool {name}"), |log| {
            let key = Key::default().with_folder(&source)?;
            let key = key
                .with(package)
                .with(self.link)
                .with(self.flags.concat())
                .name();
            let make = |folder: &Path| {
                let mut go = Command::new("go");
                go.current_dir(&source)
                    .env("CGO_ENABLED", if self.cgo { "1" } else { "0" });
                // The linker strips what debuggers read, and to write it takes the compiler a third of its time.
                go.args(["build", "-trimpath", "-buildvcs=false"])
                    .arg("-gcflags=all=-dwarf=false")
                    .args(self.flags)
                    .args(["-ldflags", self.link, "-o"])
                    .arg(folder.join(name))
                    .arg(package);
                log.run(&mut go)
            };
            let (folder, outcome) = cached::folder(&cache.join("tools"), name, &key, make)?;
            Ok((folder.join(name), outcome))
        })
    }
}

/// A package is named by its folder, but for those that end in a version.
fn binary(package: &str) -> &str {
    match package {
        "go.etcd.io/etcd/server/v3" => "etcd",
        "go.etcd.io/etcd/etcdutl/v3" => "etcdutl",
        other => other.rsplit('/').next().expect("a path has a last element"),
    }
}

/// User-Mode Linux, unpacked from the system's own package.
pub fn user_mode_linux(steps: &Steps) -> Result<PathBuf> {
    unpacked(steps, "user-mode-linux")
}

/// What User-Mode Linux needs on processors that have more registers than it knows.
pub fn xstate(checkout: &Checkout, steps: &Steps) -> Result<PathBuf> {
    let cache = Checkout::cache()?;
    let source = checkout.recipe().join("xstate.c");
    steps.step("tool xstate", |log| {
        let key = Key::default().with_file(&source)?.name();
        let (folder, outcome) = cached::folder(&cache.join("tools"), "xstate", &key, |folder| {
            let mut cc = Command::new("cc");
            cc.args(["-shared", "-fPIC", "-O2", "-o"]);
            log.run(cc.arg(folder.join("xstate.so")).arg(&source))
        })?;
        Ok((folder.join("xstate.so"), outcome))
    })
}

/// A registry of OCI artifacts, for stories.
pub fn registry(steps: &Steps) -> Result<PathBuf> {
    Ok(unpacked(steps, "docker-registry")?.join("usr/bin/docker-registry"))
}

/// What is in one of the system's packages, without installing it, which would start what it brings.
fn unpacked(steps: &Steps, package: &str) -> Result<PathBuf> {
    let cache = Checkout::cache()?;
    steps.step(&format!("tool {package}"), |log| {
        let make = |folder: &Path| {
            let download = || {
                let mut apt = crate::packages::apt();
                let apt = apt.current_dir(folder);
                log.run(apt.args(["download", "-q", package]))
            };
            if download().is_err() {
                log.run(crate::packages::apt().args(["update", "-q"]))?;
                download()?;
            }
            let mut entries = std::fs::read_dir(folder)
                .about("read", folder)?
                .flatten()
                .map(|entry| entry.path());
            let archive = entries
                .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
                .expect("apt-get just put it there");
            log.run(Command::new("dpkg").arg("-x").arg(&archive).arg(folder))?;
            std::fs::remove_file(&archive).about("remove", &archive)
        };
        cached::folder(&cache.join("tools"), package, "1", make)
    })
}
