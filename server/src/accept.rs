//! Which shape a client asks for in its Accept header.

use axum::http::{HeaderMap, header::ACCEPT};

use crate::object::{Include, Shape};

/// The first media type that can be served; whole objects in JSON when none is named that can.
pub fn shape(headers: &HeaderMap, include: Option<&str>) -> Shape {
    media_types(headers)
        .find_map(|m| wanted(&m, include))
        .unwrap_or(Shape::Whole)
}

/// Whether the client prefers aggregated discovery.
pub fn aggregated_discovery(headers: &HeaderMap) -> bool {
    let is_v2 =
        |m: &MediaType| m.param("g") == Some("apidiscovery.k8s.io") && m.param("v") == Some("v2");
    media_types(headers)
        .any(|m| m.is_json() && is_v2(&m) && m.param("as") == Some("APIGroupDiscoveryList"))
}

fn wanted(media: &MediaType, include: Option<&str>) -> Option<Shape> {
    if !media.is_json() {
        return None;
    }
    let Some(form) = media.param("as") else {
        return Some(Shape::Whole);
    };
    if media.param("g") != Some("meta.k8s.io") || media.param("v") != Some("v1") {
        return None;
    }
    match form {
        "Table" => Some(Shape::Table(match include {
            Some("None") => Include::Nothing,
            Some("Object") => Include::Object,
            _ => Include::Metadata,
        })),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => Some(Shape::Metadata),
        _ => None,
    }
}

struct MediaType<'a> {
    name: &'a str,
    params: Vec<(&'a str, &'a str)>,
}

impl MediaType<'_> {
    fn is_json(&self) -> bool {
        matches!(self.name, "application/json" | "application/*" | "*/*")
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| *value)
    }
}

fn media_types(headers: &HeaderMap) -> impl Iterator<Item = MediaType<'_>> {
    let values = headers
        .get_all(ACCEPT)
        .into_iter()
        .filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(|media| {
        let mut parts = media.split(';').map(str::trim);
        MediaType {
            name: parts.next().unwrap_or_default(),
            params: parts.filter_map(|p| p.split_once('=')).collect(),
        }
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header::ACCEPT};

    use super::{Include, Shape, aggregated_discovery, shape};

    fn headers(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))])
    }

    #[test]
    fn what_kubectl_sends_is_understood() {
        let kubectl = headers(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        );
        assert_eq!(shape(&kubectl, None), Shape::Table(Include::Metadata));
        assert_eq!(
            shape(&kubectl, Some("Object")),
            Shape::Table(Include::Object)
        );
        let protobuf = headers(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        );
        assert_eq!(shape(&protobuf, None), Shape::Metadata);
        assert_eq!(
            shape(&headers("application/vnd.kubernetes.protobuf, */*"), None),
            Shape::Whole
        );
        assert_eq!(shape(&HeaderMap::new(), None), Shape::Whole);
    }

    #[test]
    fn aggregated_discovery_is_asked_for_by_its_version() {
        assert!(aggregated_discovery(&headers(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        )));
        assert!(!aggregated_discovery(&headers(
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
        )));
    }
}
