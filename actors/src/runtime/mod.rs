//! Plumbing over actix: supervision, actor references, mailbox metrics, backoff.

pub mod actor_ref;
pub mod backoff;
pub(crate) mod failure_window;
pub(crate) mod latest_sender;
pub mod metered_context;
pub mod metrics;
#[cfg(feature = "mutations")]
pub mod mutations;
pub(crate) mod supervisor;
