//! Supervision, actor references, latest senders, mailbox metrics and backoff, on top of actix.
//!
//! actix 0.13 does not restart an actor that panicked, invalidates its address, and does not
//! expose the length of a mailbox. The modules below add these features.

pub mod actor_ref;
pub mod backoff;
pub(crate) mod failure_window;
pub(crate) mod latest_sender;
pub mod metered_context;
pub mod metrics;
#[cfg(feature = "mutations")]
pub mod mutations;
pub(crate) mod supervisor;
