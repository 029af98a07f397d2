//! The simulated world: Docker, etcd, the plan of a seed and the invariants.

pub mod container;
pub mod docker;
pub mod etcd;
#[path = "../../../actors/tests/fakes/etcd_model.rs"]
pub mod etcd_model;
pub mod invariants;
pub mod panics;
pub mod plan;
pub mod promptness;
pub mod run;
pub mod scenarios;
pub mod store;
pub mod trace;
pub mod write_rates;

pub use invariants::Violation;
pub use plan::Plan;
pub use run::run;
pub use trace::TraceLines;

/// The address that the core publishes.
pub const HOST: &str = "10.77.66.0";
/// The address that foreign records name.
pub const OTHER_HOST: &str = "10.0.0.9";
