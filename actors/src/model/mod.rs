//! Plain data that every step of the flow uses: containers, events, services, names, records.

pub mod address_family;
pub mod container;
pub mod container_state;
pub mod event;
pub(crate) mod event_history;
pub(crate) mod mass_withdrawal;
pub mod names;
pub mod network_path;
pub mod port_request;
pub mod protocol;
pub mod publish_config;
pub mod record;
pub mod service;
pub mod stable_hash;
