//! The daemon's state over HTTP, for its operator: read, never changed.
//!
//! The server runs on a thread of its own. What it asks of the actors goes through a
//! [`Desk`] on theirs, each question with a deadline, so that an actor that hangs is told
//! of and holds nobody up.

mod active_config;
mod auth;
mod bridge;
mod client;
mod daemon_api;
mod endpoints;
mod host_check;
mod page;
mod response;
mod rows;
mod server;
mod status;
mod token;

pub use active_config::{DnsSide, InForce};
pub use bridge::{Desk, NoAnswer, Window};
pub use client::{Asker, NoDaemon};
pub use daemon_api::{Daemon, Observe, Told};
pub use host_check::{Hosts, Others};
pub use rows::{ActorRow, TimingRow};
pub use server::serve;
pub use status::{DockerSide, EtcdSide, LoggedLine, RecordCounts, Summary};
pub use token::{UnusableToken, check_token};
