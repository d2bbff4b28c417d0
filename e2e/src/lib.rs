//! What the stories share: a connection to the cluster, namespaces that go away, manifests, machines, and waits that end.

pub mod away;
pub mod cluster;
pub mod etcd;
pub mod guest;
pub mod health;
pub mod helm;
pub mod manifest;
pub mod namespace;
pub mod network;
pub mod nodes;
pub mod part;
pub mod people;
pub mod postgres;
pub mod registry;
pub mod release;
pub mod replica;
pub mod rights;
pub mod stage;
pub mod terminal;
pub mod verdict;
pub mod wait;

pub use away::Away;
pub use cluster::Cluster;
pub use guest::Guest;
pub use helm::helm;
pub use manifest::Manifest;
pub use namespace::TestNamespace;
pub use part::Part;
pub use people::People;
pub use registry::Registry;
pub use release::Release;
pub use replica::Replica;
pub use stage::Stage;
pub use terminal::Terminal;
pub use verdict::{accepted, refused};
pub use wait::{eventually, wait_for};
