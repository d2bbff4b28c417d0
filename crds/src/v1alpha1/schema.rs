//! Schema pieces that a derive cannot express: bounded maps.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A map of at most 300 short texts, as parameters and environment are.
pub fn text_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 300,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// A map of at most 64 labels.
pub fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

/// A map of compute resources to quantities.
pub fn quantity_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {"type": "string", "maxLength": 32, "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$"},
    })
}
