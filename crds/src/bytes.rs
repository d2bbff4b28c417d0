//! Bytes inside JSON, as base64, and the place they have in a stream.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
}

/// Position after the last of the bytes; none where those who keep them could not count it, in 64 bits with a sign.
pub fn end(offset: u64, bytes: &[u8]) -> Option<i64> {
    let length = i64::try_from(bytes.len()).ok()?;
    i64::try_from(offset).ok()?.checked_add(length)
}
