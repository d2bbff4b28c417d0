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
    steps::{Log, Steps},
};

/// First light: what it wrote must be read by every version after it.
const COMMIT: &str = "a697ed5";
/// What its own `cargo xtask image` calls the image.
const IMAGE: &str = "pilothouse/pilothouse:0.1.0";
const ARCHIVE: &str = "pilothouse-0.1.0.tar";

/// Puts the version before beside today's on the nodes, and its charts into the cluster's state; false where the history of this clone does not reach it.
pub fn provide(checkout: &Checkout, steps: &Steps, guests: &Guests) -> Result<bool> {
    if !is_known(checkout) {
        println!(
            "The history of this clone does not reach {COMMIT}; the upgrade from there is not tried."
        );
        return Ok(false);
    }
    let cache = Checkout::cache()?;
    let folder = steps.step("version before", |log| {
        cached::folder(&cache, "versions", COMMIT, |folder| {
            make(checkout, log, folder)
        })
    })?;
    let link = checkout.local().join("before");
    let _absent = fs::remove_file(&link);
    symlink(&folder, &link).about("link", link)?;
    let archive = folder.join(ARCHIVE);
    steps.step("its image on the nodes", |log| {
        delivery::add(log, guests, IMAGE, &archive)
    })?;
    Ok(true)
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

/// The tree of that commit builds its own image; of the tree, the charts and the local cluster's values are kept.
fn make(checkout: &Checkout, log: &Log, folder: &Path) -> Result<()> {
    let tree = Checkout {
        root: folder.join("tree"),
        id: checkout.id.clone(),
    };
    unpack(checkout, log, &tree.root)?;
    let image = folder.join("image");
    log.run(
        tree.cargo()
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .args(["xtask", "image", "--out"])
            .arg(&image),
    )?;
    let keep = |from: PathBuf, name: &str| {
        let to = folder.join(name);
        fs::rename(&from, &to).about("move", from)
    };
    keep(image.join(ARCHIVE), ARCHIVE)?;
    keep(tree.root.join("charts"), "charts")?;
    keep(tree.root.join("e2e/cluster/values.yaml"), "values.yaml")?;
    for made in ["image", "target", "tree"].map(|name| folder.join(name)) {
        fs::remove_dir_all(&made).about("remove", made)?;
    }
    Ok(())
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
