//! The reference page of a kind, from its schema: every field with its type, default and meaning.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// The Markdown page of a kind.
pub fn page(crd: &CustomResourceDefinition) -> String {
    let names = &crd.spec.names;
    let version = &crd.spec.versions[0];
    let schema = version
        .schema
        .as_ref()
        .and_then(|s| s.open_api_v3_schema.as_ref())
        .expect("generated with a schema");
    let mut out = format!("# {}\n\n", names.kind);
    let _ = writeln!(
        out,
        "{}\n",
        schema.description.as_deref().unwrap_or_default()
    );
    let _ = writeln!(
        out,
        "`apiVersion: {}/{}`, plural `{}`, short names {}.\n",
        crd.spec.group,
        version.name,
        names.plural,
        names
            .short_names
            .as_ref()
            .map_or_else(|| "none".to_owned(), |s| format!("`{}`", s.join("`, `"))),
    );
    for part in ["spec", "status"] {
        let Some(part_schema) = schema.properties.as_ref().and_then(|p| p.get(part)) else {
            continue;
        };
        let _ = writeln!(
            out,
            "## {part}\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |"
        );
        rows(&mut out, part, part_schema);
        let mut found = Vec::new();
        rules(&mut found, part, part_schema);
        if !found.is_empty() {
            let _ = writeln!(out, "\nRules:\n");
            for rule in &found {
                let _ = writeln!(out, "- {rule}");
            }
        }
        out.push('\n');
    }
    out
}

fn rows(out: &mut String, path: &str, schema: &JSONSchemaProps) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        let default = field
            .default
            .as_ref()
            .map(|d| format!("`{}`", d.0))
            .unwrap_or_default();
        let doc = field
            .description
            .as_deref()
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        let required = if schema.required.iter().flatten().any(|r| r == name) {
            ", required"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "| `{path}` | {}{required} | {default} | {doc} |",
            kind(field)
        );
        rows(out, &path, field);
        if let Some(item) = item(field) {
            rows(out, &format!("{path}[]"), item);
        }
    }
}

fn rules(found: &mut Vec<String>, path: &str, schema: &JSONSchemaProps) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        found.push(format!(
            "`{path}`: {}",
            rule.message.as_deref().unwrap_or(&rule.rule)
        ));
    }
    for (name, field) in schema.properties.iter().flatten() {
        rules(found, &format!("{path}.{name}"), field);
    }
    if let Some(item) = item(schema) {
        rules(found, &format!("{path}[]"), item);
    }
}

/// The schema of a list's items.
pub fn item(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(items) => items.first(),
    }
}

fn kind(schema: &JSONSchemaProps) -> String {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return "count or percentage".to_owned();
    }
    if let Some(values) = &schema.enum_ {
        let values: Vec<_> = values.iter().filter_map(|v| v.0.as_str()).collect();
        return format!("one of {}", values.join(", "));
    }
    let limit = |what: &str, bound: Option<i64>| {
        bound.map(|b| format!(", ≤ {b} {what}")).unwrap_or_default()
    };
    match schema.type_.as_deref() {
        Some("array") => format!(
            "list of {}{}",
            item(schema).map(kind).unwrap_or_default(),
            limit("items", schema.max_items)
        ),
        Some("object") => match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(value)) => {
                format!(
                    "map of {}{}",
                    kind(value),
                    limit("entries", schema.max_properties)
                )
            }
            _ => "object".to_owned(),
        },
        Some("string") => format!("string{}", limit("characters", schema.max_length)),
        other => other.unwrap_or("any").to_owned(),
    }
}
