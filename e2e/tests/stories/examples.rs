//! Every example applies: each manifest of each story is taken by the API server, in the order of its number.

use std::{
    fs,
    path::{Path, PathBuf},
};

use e2e::{Cluster, Manifest, TestNamespace};

#[tokio::test]
async fn every_manifest_of_every_story_applies() {
    let cluster = Cluster::connect().await;
    let namespace = TestNamespace::create(&cluster, "examples").await;
    let client = cluster.client();
    let files = manifests();
    assert!(files.len() >= 7, "only {} manifests found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).expect("a file that was just listed");
        for manifest in Manifest::read(&text) {
            let answer = manifest
                .clone()
                .within(namespace.name())
                .try_apply(&client)
                .await;
            answer.unwrap_or_else(|error| {
                panic!("{}: {}: {error}", file.display(), manifest.title())
            });
        }
    }
}

fn manifests() -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let stories = listed(&examples).into_iter().filter(|story| story.is_dir());
    stories
        .flat_map(|story| listed(&story))
        .filter(|file| file.extension().is_some_and(|e| e == "yaml"))
        .collect()
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("the folder of the examples")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries
}
