//! What every listener shares: certificates and their hot reload, who is asking (front proxy or token) and whether they may, health, metrics,
//! logs and an orderly end. Knows nothing of what is served.

mod api_review;
mod authority;
mod caller;
mod certificate;
mod events;
mod folder;
mod front_proxy;
mod health;
mod listeners;
mod publish;
mod records_at;
mod remembered;
mod review;
mod secret;
pub mod shutdown;
pub mod telemetry;
mod tls;

pub use api_review::ApiReview;
pub use authority::{AuthorityError, Material};
pub use caller::{CallerError, caller, token_of};
pub use certificate::{Certificates, Identity, IdentityError, Source};
pub use events::Events;
pub use front_proxy::{FrontProxy, follow as follow_front_proxy};
pub use health::{Gate, Health, serve_health};
pub use listeners::{ListenError, Listeners};
pub use publish::{Publication, Published};
pub use records_at::RecordsAt;
pub use remembered::Remembered;
pub use review::{Attributes, Decision, Review, ReviewError, User};
pub use tls::{Peer, TlsListener};
