//! Schema pieces that a derive cannot express: bounded maps, conditions, the absence of null, and the status before the first look.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

/// The generation that the status of an object speaks of that nobody has looked at yet.
pub const UNSEEN: i64 = -1;
/// Dates and times alike sort by their text.
const MOMENT: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z?)?$";

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

/// A piece of an object of any kind.
pub fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A calendar date, which the API server checks.
pub fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date", "maxLength": 10})
}

/// A date, a local time or a time of UTC, as a calendar has them.
pub fn moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": MOMENT, "maxLength": 20})
}

/// At most 100 of them.
pub fn moments(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 100, "items": {"type": "string", "pattern": MOMENT, "maxLength": 20}})
}

/// A map of compute resources to quantities.
pub fn quantity_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {"type": "string", "maxLength": 32, "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$"},
    })
}

/// The conditions of a status. The standard's own type bounds nothing; a message is cut to this length when it is set.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "description": "One aspect of the state of the object.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$", "description": "type of the condition, in CamelCase."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "status is True, False or Unknown."},
                "reason": {"type": "string", "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$", "description": "reason in one CamelCase word, for programs; it stays the same over releases."},
                "message": {"type": "string", "maxLength": 1024, "description": "message for people."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": "lastTransitionTime is when status last changed."},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "description": "observedGeneration is the generation that this condition speaks of."},
            },
        },
    })
}

/// Takes `nullable` out of every field. An absent field says the same as null, and to a rule `has` is true of null.
pub fn without_null(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        version
            .schema
            .iter_mut()
            .filter_map(|schema| schema.open_api_v3_schema.as_mut())
            .for_each(refuse_null);
    }
    crd
}

/// Gives an object a status from its creation on: kstatus takes one without for one that is as it should be.
pub fn with_unseen_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut();
        let fields = schema
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut());
        if let Some(status) = fields.and_then(|fields| fields.get_mut("status")) {
            status.default = Some(JSON(json!({"observedGeneration": UNSEEN})));
        }
    }
    crd
}

fn refuse_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(refuse_null);
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        refuse_null(item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        refuse_null(value);
    }
}
