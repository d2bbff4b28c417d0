//! What several targets promise.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

/// Whatever was read is written so that it reads as the same.
pub fn reads_back<T: Debug + PartialEq + Serialize + DeserializeOwned>(value: &T) {
    let written = serde_json::to_string(value).expect("plain data");
    assert_eq!(
        serde_json::from_str::<T>(&written).expect("as written"),
        *value
    );
}
