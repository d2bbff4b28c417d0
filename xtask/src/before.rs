//! The version before, from this repository's history: its image and charts, made once and kept, which the story of an upgrade goes back to.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cached,
    checkout::Checkout,
    delivery,
    error::{About, Result},
    guests::Guests,
    product::{self, Tag},
    steps::{Log, Steps},
};

/// First light: what it wrote must be read by every version after it.
const COMMIT: &str = "a697ed5";
/// What was in its image.
const PROGRAMS: [&str; 4] = ["kubectl-pilothouse", "operator", "server", "toolkit"];
/// What its image is called.
const IMAGE: &str = "pilothouse/pilothouse:0.1.0";
const ARCHIVE: &str = "pilothouse-0.1.0.tar";

/// Where the version before is kept; none where the history of this clone does not reach it, or where it was never made and is not to be: that takes as long as compiling the product.
pub fn made(checkout: &Checkout, steps: &Steps, make_it: bool) -> Result<Option<PathBuf>> {
    if !is_known(checkout) {
        println!(
            "The history of this clone does not reach {COMMIT}; the upgrade from there is not tried."
        );
        return Ok(None);
    }
    let cache = Checkout::cache()?;
    if !make_it && !cache.join("versions").join(COMMIT).exists() {
        println!(
            "The version before was not made yet; the upgrade from there is tried with --long."
        );
        return Ok(None);
    }
    let folder = steps.step("version before", |log| {
        cached::folder(&cache, "versions", COMMIT, |folder| {
            make(checkout, log, folder)
        })
    })?;
    Ok(Some(folder))
}

/// Puts it beside today's on the nodes, and its charts into the cluster's state.
pub fn provide(checkout: &Checkout, steps: &Steps, guests: &Guests, folder: &Path) -> Result<()> {
    let link = checkout.local().join("before");
    let _absent = fs::remove_file(&link);
    symlink(folder, &link).about("link", link)?;
    let archive = folder.join(ARCHIVE);
    steps.step("its image on the nodes", |log| {
        delivery::add(log, guests, IMAGE, &archive)
    })
}

fn is_known(checkout: &Checkout) -> bool {
    let asked = git(checkout)
        .args(["cat-file", "-e", &format!("{COMMIT}^{{commit}}")])
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn git(checkout: &Checkout) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(&checkout.root);
    git
}

/// What of its dependencies would be compiled otherwise than ours are, and with it all that stands on it; no behaviour hangs on it.
const AS_OURS: [(&str, &str); 2] = [
    (
        r#"jiff = { version = "0.2", features = ["serde"] }"#,
        r#"jiff = { version = "0.2", features = ["serde", "tzdb-bundle-always"] }"#,
    ),
    (
        "[profile.dev]",
        "[profile.dev.package.k8s-openapi]\nopt-level = 0\n\n[profile.dev]",
    ),
];

/// The image of that commit's programs; of its tree, the charts and the local cluster's values are kept.
fn make(checkout: &Checkout, log: &Log, folder: &Path) -> Result<()> {
    let tree = Checkout {
        root: folder.join("tree"),
        id: checkout.id.clone(),
    };
    unpack(checkout, log, &tree.root)?;
    compile_as_ours(checkout, &tree)?;
    let image = folder.join("image");
    product::build(&tree, log, false, &PROGRAMS, &image, Tag::Version)?;
    let keep = |from: PathBuf, name: &str| {
        let to = folder.join(name);
        fs::rename(&from, &to).about("move", from)
    };
    keep(image.join(ARCHIVE), ARCHIVE)?;
    keep(tree.root.join("charts"), "charts")?;
    keep(tree.root.join("e2e/cluster/values.yaml"), "values.yaml")?;
    for made in ["image", "tree"].map(|name| folder.join(name)) {
        fs::remove_dir_all(&made).about("remove", made)?;
    }
    Ok(())
}

/// Nearly all of its dependencies are ours, and lie compiled in our own target folder.
fn compile_as_ours(checkout: &Checkout, tree: &Checkout) -> Result<()> {
    let manifest = tree.root.join("Cargo.toml");
    let mut text = fs::read_to_string(&manifest).about("read", &manifest)?;
    for (theirs, ours) in AS_OURS {
        text = text.replacen(theirs, ours, 1);
    }
    fs::write(&manifest, text).about("write", manifest)?;
    let target = tree.root.join("target");
    symlink(checkout.root.join("target"), &target).about("link", target)
}

fn unpack(checkout: &Checkout, log: &Log, into: &Path) -> Result<()> {
    fs::create_dir_all(into).about("create", into)?;
    let archive = into.with_extension("tar");
    log.run(
        git(checkout)
            .arg("archive")
            .arg("-o")
            .arg(&archive)
            .arg(COMMIT),
    )?;
    log.run(
        Command::new("tar")
            .arg("-x")
            .arg("-C")
            .arg(into)
            .arg("-f")
            .arg(&archive),
    )?;
    fs::remove_file(&archive).about("remove", archive)
}
