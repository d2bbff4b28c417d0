//! The conventions of the API, held by every schema: what a new field or kind forgets is named here, by its path.

use std::collections::BTreeMap;

use crds::v1alpha1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSONSchemaProps,
    JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// One field of a schema and where it is.
struct Field<'a> {
    path: String,
    name: &'a str,
    schema: &'a JSONSchemaProps,
}

/// The kinds that speak of every namespace.
const OF_THE_CLUSTER: [&str; 2] = ["CommandPolicy", "ProtectionPolicy"];

/// What a field does wrong, if anything.
type Rule = fn(&Field) -> Option<&'static str>;

#[test]
fn every_field_is_explained() {
    hold(|field| {
        let text = field.schema.description.as_deref().unwrap_or_default();
        if field.name == "[]" || field.name == "{}" {
            return None;
        }
        match () {
            () if text.is_empty() => Some("has no description"),
            () if !text.starts_with(field.name) && !is_root(field) => {
                Some("has a description that does not begin with its name")
            }
            () if !text.trim_end().ends_with('.') => Some("has a description that is no sentence"),
            () => None,
        }
    });
}

#[test]
fn every_text_is_bounded() {
    hold(|field| {
        let open = is(field, "string")
            && field.schema.max_length.is_none()
            && field.schema.enum_.is_none();
        (open && field.schema.format.as_deref() != Some("date-time"))
            .then_some("is a string without maxLength, enum or date-time")
    });
}

#[test]
fn every_list_is_bounded_and_says_how_it_merges() {
    hold(|field| {
        let schema = field.schema;
        let keys = schema.x_kubernetes_list_map_keys.iter().flatten().count();
        match (schema.max_items, schema.x_kubernetes_list_type.as_deref()) {
            _ if !is(field, "array") => None,
            (None, _) => Some("is a list without maxItems"),
            (_, Some("map")) if keys == 0 => Some("is a list map without keys"),
            (_, Some("map" | "set" | "atomic")) => None,
            _ => Some("is a list without x-kubernetes-list-type"),
        }
    });
}

#[test]
fn every_map_is_bounded() {
    hold(|field| {
        let map = matches!(
            field.schema.additional_properties,
            Some(JSONSchemaPropsOrBool::Schema(_))
        );
        (map && field.schema.max_properties.is_none()).then_some("is a map without maxProperties")
    });
}

#[test]
fn numbers_are_whole_and_those_that_people_write_are_bounded() {
    hold(|field| {
        let schema = field.schema;
        let format = schema.format.as_deref();
        match () {
            () if is(field, "number") => Some("is a number that need not be whole"),
            () if !is(field, "integer") => None,
            () if !matches!(format, Some("int32" | "int64")) => {
                Some("is an integer of another format than int32 and int64")
            }
            () if field.path.starts_with("spec.")
                && (schema.minimum.is_none() || schema.maximum.is_none()) =>
            {
                Some("is an integer of a spec without minimum and maximum")
            }
            () => None,
        }
    });
}

/// A status can hold no others; `crds::v1alpha1::whole_second` reads them so.
#[test]
fn times_that_people_write_are_whole_seconds() {
    hold(|field| {
        let is_time = field.schema.format.as_deref() == Some("date-time");
        let text = field.schema.description.as_deref().unwrap_or_default();
        let says = text.contains("Fractions of a second do not count.");
        (is_time && field.path.starts_with("spec.") && !says)
            .then_some("is a time of a spec that does not say what becomes of fractions")
    });
}

#[test]
fn nothing_is_open_null_or_undeclared() {
    hold(|field| {
        let schema = field.schema;
        let shapeless = schema.type_.is_none() && schema.x_kubernetes_int_or_string != Some(true);
        match () {
            () if schema.nullable == Some(true) => {
                Some("may be null; an absent field says the same, and rules can see that")
            }
            // A piece of an object of any kind has no shape of ours.
            () if schema.x_kubernetes_preserve_unknown_fields.is_some()
                && !field.path.ends_with(".action.patch.merge") =>
            {
                Some("keeps unknown fields")
            }
            () if shapeless => Some("has no type"),
            () => None,
        }
    });
}

#[test]
fn enums_are_camel_case_and_no_booleans_of_yaml() {
    hold(|field| {
        let values = field.schema.enum_.iter().flatten();
        values
            .map(|value| value.0.as_str().unwrap_or_default())
            .find_map(|value| {
                let camel = value.starts_with(|c: char| c.is_ascii_uppercase())
                    && value.chars().all(|c| c.is_ascii_alphanumeric());
                let boolean = ["on", "off", "yes", "no", "y", "n", "true", "false"]
                    .contains(&value.to_lowercase().as_str());
                // The standard says True, False and Unknown of a condition, and its clients quote them.
                (!camel || boolean && !field.path.contains("conditions[]"))
                    .then_some("has an enum value that is not CamelCase or reads as a boolean")
            })
    });
}

#[test]
fn every_rule_says_what_is_wrong() {
    hold(|field| {
        let rules = field.schema.x_kubernetes_validations.iter().flatten();
        rules
            .map(|rule| rule.message.as_deref().unwrap_or_default())
            .any(str::is_empty)
            .then_some("has a CEL rule without a message")
    });
}

#[test]
fn every_spec_says_who_wrote_it_and_every_status_what_it_speaks_of() {
    for crd in v1alpha1::all() {
        let fields = fields(&crd);
        let find = |path: &str| {
            fields
                .iter()
                .find(|field| field.path == path)
                .map(|field| field.schema)
        };
        let kind = &crd.spec.names.kind;
        assert!(
            find("spec.requestedBy.user").is_some(),
            "{kind}: spec.requestedBy is missing"
        );
        let conditions = find("status.conditions")
            .unwrap_or_else(|| panic!("{kind}: status.conditions is missing"));
        assert_eq!(
            conditions.x_kubernetes_list_map_keys.as_deref(),
            Some(&["type".to_owned()][..]),
            "{kind}: conditions"
        );
        let generation =
            find("status.observedGeneration").and_then(|schema| schema.format.as_deref());
        assert_eq!(
            generation,
            Some("int64"),
            "{kind}: status.observedGeneration"
        );
        let seen = find("status").and_then(|schema| schema.default.as_ref());
        assert_eq!(
            seen.map(|seen| seen.0["observedGeneration"].clone()),
            Some((-1).into()),
            "{kind}: without a status it is taken for ready before anybody has looked at it"
        );
        assert!(
            find("status.phase").is_none(),
            "{kind}: a phase is no source of truth"
        );
        let subresources = crd.spec.versions[0].subresources.as_ref();
        assert!(
            subresources.is_some_and(|s| s.status.is_some()),
            "{kind}: status is no subresource"
        );
    }
}

#[test]
fn kinds_are_found_under_one_category_and_short_names_of_their_own() {
    let mut short_names = BTreeMap::new();
    for crd in v1alpha1::all() {
        let names = crd.spec.names;
        assert_eq!(
            names.categories.as_deref(),
            Some(&["pilothouse".to_owned()][..]),
            "{}: category",
            names.kind
        );
        let scope = if OF_THE_CLUSTER.contains(&names.kind.as_str()) {
            "Cluster"
        } else {
            "Namespaced"
        };
        assert_eq!(crd.spec.scope, scope, "{}: scope", names.kind);
        for short in names.short_names.into_iter().flatten() {
            if let Some(other) = short_names.insert(short.clone(), names.kind.clone()) {
                panic!("{short} is the short name of {other} and of {}", names.kind);
            }
        }
    }
}

#[test]
fn tables_have_at_most_six_columns_and_age_comes_last() {
    for crd in v1alpha1::all() {
        let columns = crd.spec.versions[0]
            .additional_printer_columns
            .as_deref()
            .unwrap_or_default();
        let shown: Vec<&CustomResourceColumnDefinition> = columns
            .iter()
            .filter(|column| column.priority.unwrap_or(0) == 0)
            .collect();
        assert!(
            shown.len() <= 6,
            "{} shows {} columns",
            crd.spec.names.kind,
            shown.len()
        );
        let last = shown
            .last()
            .map(|column| (column.name.as_str(), column.json_path.as_str()));
        assert_eq!(
            last,
            Some(("Age", ".metadata.creationTimestamp")),
            "{}",
            crd.spec.names.kind
        );
    }
}

/// Asks the rule of every field of every kind and names all that break it.
fn hold(rule: Rule) {
    let mut broken = Vec::new();
    for crd in v1alpha1::all() {
        for field in fields(&crd) {
            if let Some(what) = rule(&field) {
                broken.push(format!("{} {} {what}", crd.spec.names.kind, field.path));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "{} fields break a convention:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

fn fields(crd: &CustomResourceDefinition) -> Vec<Field<'_>> {
    let schema = crd.spec.versions[0]
        .schema
        .as_ref()
        .and_then(|s| s.open_api_v3_schema.as_ref());
    let mut found = Vec::new();
    collect(schema.expect("every kind has a schema"), "", &mut found);
    assert!(found.len() > 10, "the walk found next to nothing");
    found
}

fn collect<'a>(schema: &'a JSONSchemaProps, path: &str, found: &mut Vec<Field<'a>>) {
    let mut add = |name: &'a str, joined: String, schema: &'a JSONSchemaProps| {
        found.push(Field {
            path: joined.clone(),
            name,
            schema,
        });
        collect(schema, &joined, found);
    };
    for (name, property) in schema.properties.iter().flatten() {
        add(
            name,
            if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            },
            property,
        );
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        add("[]", format!("{path}[]"), item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        add("{}", format!("{path}{{}}"), value);
    }
}

fn is(field: &Field, type_: &str) -> bool {
    field.schema.type_.as_deref() == Some(type_)
}

/// `spec` and `status` carry the sentence of their type.
fn is_root(field: &Field) -> bool {
    matches!(field.path.as_str(), "spec" | "status")
}
