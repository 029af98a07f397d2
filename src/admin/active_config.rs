//! The active configuration, as far as the admin interface shows or obeys it.

use serde::{Deserialize, Serialize};

use crate::settings::{Admin, EffectiveKey};

/// The active configuration of the daemon. A reload replaces it.
#[derive(Clone, Debug)]
pub struct ActiveConfig {
    /// The settings of the admin interface itself.
    pub admin: Admin,
    /// Every key in effect, with its value and layer.
    pub effective: Vec<EffectiveKey>,
    /// The errors for which the last reload was rejected. Empty after a successful reload.
    pub reload_errors: Vec<String>,
    /// The servers that must answer before the last reload takes effect, with their errors.
    pub reload_waiting_for: Option<String>,
    /// The difference between the published address and the address of its interface.
    pub address_warning: Option<String>,
    /// The DNS server of standalone mode. `None` with etcd.
    pub dns: Option<DnsReport>,
}

impl ActiveConfig {
    /// Creates a configuration without a reload.
    pub fn new(admin: Admin, effective: Vec<EffectiveKey>) -> Self {
        Self {
            admin,
            effective,
            reload_errors: Vec::new(),
            reload_waiting_for: None,
            address_warning: None,
            dns: None,
        }
    }
}

/// The DNS server of standalone mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsReport {
    /// The domain that it serves.
    pub domain: String,
    /// The listen addresses, for UDP and TCP.
    pub addresses: Vec<String>,
}
