//! What a host says, and what the toolkit reads back from the journal on it: any bytes are read to the end without harm, and what was written is read as it was.
#![no_main]

use std::{
    fs::{self, File},
    os::fd::OwnedFd,
    sync::LazyLock,
};

use crds::journal::{KeyRequest, Request, Stream};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use reach::host::{Lines, answer};

use tempfile::TempDir;
use toolkit::{
    journal::Journal,
    output::{Reader, Recorder},
    request,
    slots::Slots,
};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder in memory");
    fs::create_dir(folder.path().join("key")).expect("a key's folder in it");
    folder
});

// The first byte says what the rest is.
fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind {
        b'l' => lines(rest),
        b'r' => asked(rest),
        b's' => state(rest),
        b'o' => frames(rest),
        b'w' => recorded(rest),
        _ => {}
    }
});

/// Pieces of any size give the same lines; an answer that was understood says the same when it is written down.
fn lines(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else {
        return;
    };
    let read = |size: usize| {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in stream.chunks(size) {
            lines.push(piece);
            all.extend(std::iter::from_fn(|| lines.line()));
            assert!(!lines.is_overlong());
        }
        all
    };
    let whole = read(stream.len().max(1));
    assert_eq!(read(usize::from(*size).max(1)), whole);
    assert_eq!(whole.len(), stream.iter().filter(|b| **b == b'\n').count());
    for line in whole {
        if let Ok(said) = answer(&line) {
            let written = serde_json::to_string(&said).expect("plain data");
            assert_eq!(answer(&written).as_ref(), Ok(&said));
        }
    }
}

/// A request that is taken is within its bounds and says the same when it is written down.
fn asked(line: &[u8]) {
    if let Ok(key) = request::parse::<KeyRequest>(line) {
        assert_eq!(key.key.digest().len(), 64);
        let written = serde_json::to_vec(&key).expect("plain data");
        assert!(request::parse::<KeyRequest>(&written).is_ok_and(|again| again == key));
    }
    let Ok(read) = request::parse::<Request>(line) else {
        return;
    };
    let written = serde_json::to_vec(&read).expect("plain data");
    assert!(request::parse::<Request>(&written).is_ok_and(|again| again == read));
    if request::check(&read).is_ok() {
        assert!(request::check_key(&read.key, read.epoch).is_ok());
        assert!(!read.env.contains_key(crds::journal::EFFECT_VARIABLE));
    }
}

/// A state file with any facts in its slots, one a line, and then with the last line written over its middle.
fn state(data: &[u8]) {
    let folder: OwnedFd = open("key").into();
    let slots = Slots::make(&folder, "state", 5).expect("memory takes it");
    let text = String::from_utf8_lossy(data);
    for (slot, fact) in text.lines().take(5).enumerate() {
        // As long as a slot may be, once it is written as JSON.
        if serde_json::to_string(fact).is_ok_and(|written| written.len() < 4000) {
            slots.write(slot, &fact).expect("memory takes it");
            let read = slots.read::<String>(slot).expect("just written");
            assert_eq!(read.as_deref(), Some(fact));
        }
    }
    look();
    let damage = text.lines().last().unwrap_or_default();
    let path = FOLDER.path().join("key/state");
    let mut bytes = fs::read(&path).expect("just written");
    let middle = bytes.len() / 2;
    let length = damage.len().min(middle);
    bytes[middle..middle + length].copy_from_slice(&damage.as_bytes()[..length]);
    fs::write(&path, bytes).expect("memory takes it");
    look();
}

/// Everything that is asked of a journal; errors are answers too.
fn look() {
    let folder: OwnedFd = open("").into();
    let found = Journal::existing(&folder, "key".as_ref());
    let journal = found.expect("it can be opened").expect("it is there");
    let _ = (
        journal.stage(),
        journal.cancel_wanted(),
        journal.forgotten(),
    );
    if let Ok(true) = journal.forget(Timestamp::UNIX_EPOCH) {
        assert!(journal.forgotten().is_ok_and(|mark| mark.is_some()));
    }
}

fn open(name: &str) -> File {
    File::open(FOLDER.path().join(name)).expect("a folder that was made")
}

/// Frames of any bytes hold no more than the bytes.
fn frames(data: &[u8]) {
    let path = FOLDER.path().join("output");
    fs::write(&path, data).expect("memory takes it");
    let mut reader = Reader::new(File::open(&path).expect("just written"));
    let mut seen = 0;
    while let Ok(Some(output)) = reader.frame() {
        seen += output.data.len() + 13;
        assert!(seen <= data.len());
    }
}

/// What is recorded is read back in order, at its place, up to what is kept; the rest is counted.
fn recorded(data: &[u8]) {
    let Some((keep, pushes)) = data.split_first() else {
        return;
    };
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(FOLDER.path().join("recorded"))
        .expect("memory takes it");
    let keep = u64::from(*keep) * 3;
    let mut recorder = Recorder::new(file.try_clone().expect("a descriptor"), keep);
    let mut written = Vec::new();
    for push in pushes.split(|b| *b == b'|') {
        let stream = match push.first() {
            Some(b'e') => Stream::Stderr,
            Some(b'f') => {
                recorder.flush();
                continue;
            }
            _ => Stream::Stdout,
        };
        recorder.push(stream, push);
        written.extend_from_slice(push);
    }
    let (counts, synced) = recorder.finish();
    synced.expect("memory takes it");
    let (mut reader, mut kept, mut place) = (Reader::new(file), 0, 0);
    while let Some(output) = reader.frame().expect("as written") {
        assert!(output.offset >= place, "in order");
        place = output.offset + output.data.len() as u64;
        kept += output.data.len() as u64;
        let from = usize::try_from(output.offset).expect("small");
        assert_eq!(written[from..from + output.data.len()], output.data);
    }
    assert_eq!(counts.bytes, written.len() as u64);
    assert_eq!(kept + counts.dropped, counts.bytes);
    assert_eq!(kept, counts.bytes.min(keep), "as much as may be");
}
