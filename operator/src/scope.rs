//! Which namespaces are served: those that were named, or every one. What would be asked of the whole cluster is asked of each part of it.

use kube::{Api, Client, Resource, core::NamespaceResourceScope};

/// Stands for every namespace, and is no namespace's name.
pub const EVERY: &str = "";

/// The parts of the cluster that are listed and watched, each by itself.
#[derive(Clone, Debug)]
pub struct Scope(Vec<String>);

impl Scope {
    /// The namespaces that are named; every one where none is.
    pub fn new(mut named: Vec<String>) -> Self {
        if named.is_empty() {
            named.push(EVERY.to_owned());
        }
        Self(named)
    }

    pub fn is_every_namespace(&self) -> bool {
        self.0 == [EVERY]
    }

    /// The part that a namespace is in.
    pub fn part_of<'a>(&self, namespace: &'a str) -> &'a str {
        if self.is_every_namespace() {
            EVERY
        } else {
            namespace
        }
    }

    /// Namespaces, or the one part that is all of them.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The objects of one part.
pub fn within<K>(client: &Client, part: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match part {
        EVERY => Api::all(client.clone()),
        namespace => Api::namespaced(client.clone(), namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn the_whole_cluster_is_one_part_and_each_namespace_is_one() {
        let parts = |named: &[&str]| {
            let scope = Scope::new(named.iter().map(ToString::to_string).collect());
            let parts: Vec<_> = scope.parts().map(str::to_owned).collect();
            (scope.is_every_namespace(), parts)
        };
        assert_eq!(parts(&[]), (true, vec![String::new()]));
        assert_eq!(
            parts(&["shop", "web"]),
            (false, vec!["shop".into(), "web".into()])
        );
    }
}
