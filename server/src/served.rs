//! What records keep, as objects of Kubernetes in the shapes that clients want: whole, their metadata alone, or as lines of a table.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    object::{API_VERSION, Include, Shape},
    table::{self, Column},
};

/// Version of what Kubernetes has for objects of every kind.
const META: &str = "meta.k8s.io/v1";

/// Something that is served as an object of a kind.
pub trait Served {
    const KIND: &'static str;
    const COLUMNS: &'static [Column];

    fn metadata(&self) -> Value;

    /// The fields that it has beside its metadata.
    fn fields(&self) -> Result<Vec<(&'static str, Value)>, serde_json::Error>;

    /// What stands in its line, a cell for each column.
    fn cells(&self, now: Timestamp) -> Value;
}

/// A list in the shape that the client wants.
pub fn list<T: Served>(items: &[T], shape: Shape, metadata: &Value) -> Result<Value, Failure> {
    let (kind, version, items) = match shape {
        Shape::Whole => {
            let items: Result<Vec<_>, _> = items.iter().map(whole).collect();
            (format!("{}List", T::KIND), API_VERSION, items?)
        }
        Shape::Metadata => {
            let kind = "PartialObjectMetadataList".to_owned();
            (kind, META, items.iter().map(partial).collect())
        }
        Shape::Table(include) => {
            let now = Timestamp::now();
            let lines = items.iter().map(|item| line(item, include, now));
            let lines: Result<Vec<_>, _> = lines.collect();
            return Ok(table::of(T::COLUMNS, &lines?, metadata));
        }
    };
    Ok(json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}))
}

/// One object in the shape that the client wants; the metadata are those of a table that it is alone in.
pub fn one<T: Served>(item: &T, shape: Shape, metadata: &Value) -> Result<Value, Failure> {
    match shape {
        Shape::Whole => whole(item),
        Shape::Metadata => Ok(partial(item)),
        Shape::Table(_) => list(std::slice::from_ref(item), shape, metadata),
    }
}

/// A time as metadata tell it.
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn whole<T: Served>(item: &T) -> Result<Value, Failure> {
    let mut object =
        json!({"kind": T::KIND, "apiVersion": API_VERSION, "metadata": item.metadata()});
    for (field, value) in item.fields().map_err(Failure::Encode)? {
        object[field] = value;
    }
    Ok(object)
}

fn partial<T: Served>(item: &T) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": item.metadata()})
}

fn line<T: Served>(item: &T, include: Include, now: Timestamp) -> Result<Value, Failure> {
    let mut line = json!({"cells": item.cells(now)});
    match include {
        Include::Nothing => {}
        Include::Metadata => line["object"] = partial(item),
        Include::Object => line["object"] = whole(item)?,
    }
    Ok(line)
}
