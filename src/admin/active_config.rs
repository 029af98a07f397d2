//! The active configuration, as the admin interface shows and obeys it.

use serde::{Deserialize, Serialize};

use crate::settings::{Admin, EffectiveKey};

/// What of the settings in force is shown, and decides where and to whom.
#[derive(Clone, Debug)]
pub struct ActiveConfig {
    /// Where to serve, and whom.
    pub admin: Admin,
    /// Every key as it holds.
    pub effective: Vec<EffectiveKey>,
    /// The faults for which what was read last is not in force; none: it is.
    pub reload_errors: Vec<String>,
    /// Who has to answer before what was read last is in force, and why it does not.
    pub reload_waiting_for: Option<String>,
    /// How DNS is answered; `None`: by others, from etcd.
    pub dns: Option<DnsReport>,
}

impl ActiveConfig {
    /// With nothing on its way.
    pub fn new(admin: Admin, effective: Vec<EffectiveKey>) -> Self {
        Self { admin, effective, reload_errors: Vec::new(), reload_waiting_for: None, dns: None }
    }
}

/// How DNS is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsReport {
    /// For which domain.
    pub domain: String,
    /// Where, by UDP and TCP.
    pub addresses: Vec<String>,
}
