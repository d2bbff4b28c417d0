//! Container images FROM scratch, written as tars without an engine; the same input gives the same bytes.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::error::{About, Result};

/// The one layer of an image.
pub struct Layer {
    tar: Builder<Vec<u8>>,
}

impl Default for Layer {
    fn default() -> Self {
        let mut layer = Self {
            tar: Builder::new(Vec::new()),
        };
        for (folder, mode) in [
            ("tmp", 0o1777),
            ("proc", 0o755),
            ("sys", 0o755),
            ("etc", 0o755),
        ] {
            layer.folder(folder, mode);
        }
        layer.file(
            "etc/passwd",
            0o644,
            b"root:x:0:0::/:/bin/sh\nnobody:x:65532:65532::/:/bin/false\n",
        );
        layer.file("etc/group", 0o644, b"root:x:0:\nnobody:x:65532:\n");
        layer
    }
}

impl Layer {
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.entry(&mut header(EntryType::Directory, mode), path, &[]);
    }

    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.entry(&mut header(EntryType::Regular, mode), path, data);
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.tar
            .append_link(&mut header(EntryType::Symlink, 0o777), path, target)
            .expect("memory takes what it is given");
    }

    fn entry(&mut self, header: &mut Header, path: &str, data: &[u8]) {
        header.set_size(data.len() as u64);
        self.tar
            .append_data(header, path, data)
            .expect("memory takes what it is given");
    }
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

/// What an image runs, and as whom.
pub struct Image<'a> {
    pub name: &'a str,
    pub entrypoint: &'a [&'a str],
    pub user: &'a str,
}

impl Image<'_> {
    /// Writes the archive that `ctr images import` and `docker load` read; returns the image's digest.
    pub fn write(&self, layer: Layer, path: &Path) -> Result<String> {
        let layer = layer
            .tar
            .into_inner()
            .expect("memory takes what it is given");
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": self.user, "WorkingDir": "/", "Env": ["PATH=/bin:/"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex::encode(Sha256::digest(&layer)))]},
        });
        let config = config.to_string();
        let digest = hex::encode(Sha256::digest(&config));
        let manifest = json!([{"Config": format!("{digest}.json"), "RepoTags": [self.name], "Layers": ["layer.tar"]}]).to_string();
        let mut archive = Builder::new(Vec::new());
        for (name, data) in [
            (format!("{digest}.json").as_str(), config.as_bytes()),
            ("layer.tar", &layer),
            ("manifest.json", manifest.as_bytes()),
        ] {
            let mut header = header(EntryType::Regular, 0o644);
            header.set_size(data.len() as u64);
            archive
                .append_data(&mut header, name, data)
                .expect("memory takes what it is given");
        }
        let archive = archive.into_inner().expect("memory takes what it is given");
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).about("create", folder)?;
        }
        File::create(path)
            .and_then(|mut file| file.write_all(&archive))
            .about("write", path)?;
        Ok(digest)
    }
}

/// This machine's, by the name that images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn image(folder: &Path) -> (Vec<u8>, String) {
        let mut layer = Layer::default();
        layer.file("hello", 0o755, b"world");
        layer.link("bye", "hello");
        let path = folder.join("image.tar");
        let image = Image {
            name: "local/hello:1",
            entrypoint: &["/hello"],
            user: "65532:65532",
        };
        let digest = image.write(layer, &path).expect("a temporary folder");
        (fs::read(path).expect("the image"), digest)
    }

    #[test]
    fn the_same_files_give_the_same_image() {
        let folder = std::env::temp_dir().join(format!("xtask-image-{}", std::process::id()));
        assert_eq!(image(&folder), image(&folder));
        fs::remove_dir_all(folder).expect("the temporary folder");
    }

    #[test]
    fn the_manifest_names_configuration_and_layer() {
        let folder = std::env::temp_dir().join(format!("xtask-manifest-{}", std::process::id()));
        let (data, digest) = image(&folder);
        let mut archive = tar::Archive::new(data.as_slice());
        let mut files = std::collections::BTreeMap::new();
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a name").display().to_string();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).expect("its data");
            files.insert(name, data);
        }
        let manifest: serde_json::Value =
            serde_json::from_slice(&files["manifest.json"]).expect("JSON");
        assert_eq!(manifest[0]["Config"], format!("{digest}.json"));
        let config: serde_json::Value =
            serde_json::from_slice(&files[&format!("{digest}.json")]).expect("JSON");
        let layer = format!(
            "sha256:{}",
            hex::encode(Sha256::digest(&files["layer.tar"]))
        );
        assert_eq!(config["rootfs"]["diff_ids"][0], layer);
        assert_eq!(config["config"]["User"], "65532:65532");
        fs::remove_dir_all(folder).expect("the temporary folder");
    }
}
