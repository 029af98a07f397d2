//! The daemon's state over HTTP, for its operator: read, never changed.
//!
//! The server runs on a thread of its own. What it asks of the actors goes through a
//! [`Desk`] on theirs, each question with a deadline, so that an actor that hangs is told
//! of and holds nobody up.

mod client;
mod desk;
mod endpoints;
mod guard;
mod hosts;
mod observe;
mod page;
mod rows;
mod server;
mod summary;
mod token;

pub use client::{Asker, NoDaemon};
pub use desk::{Desk, InForce, NoAnswer, Window};
pub use hosts::{Hosts, Others};
pub use observe::{Daemon, Observe, Told};
pub use rows::{ActorRow, TimingRow};
pub use server::serve;
pub use summary::{DnsSide, DockerSide, EtcdSide, LoggedLine, RecordCounts, Summary};
pub use token::{UnusableToken, check_token};
