//! [`FirstClaims`]: the first declaration of a service wins.

use std::collections::HashMap;
use std::num::NonZeroU16;

use crate::model::container::Protocol;
use crate::model::names::ServiceName;
use crate::model::service::Service;

/// The services declared so far, for the detection of duplicates.
///
/// Two entries declare the same service if their names and ports are equal, unless both
/// declare a protocol and the protocols differ. `named:53/tcp,named:53/udp` are therefore two
/// services, and each has a key of its own in the `instance` layout. An entry without a
/// protocol stands for the published protocol, so it equals an entry with any protocol.
#[derive(Default)]
pub struct FirstClaims(HashMap<(ServiceName, NonZeroU16), Vec<ServiceClaim>>);

struct ServiceClaim {
    proto: Option<Protocol>,
    method: &'static str,
}

impl FirstClaims {
    /// Claims a service for the discovery method that found it.
    ///
    /// # Errors
    /// Returns the discovery method that claimed the service earlier.
    pub fn claim(&mut self, service: &Service) -> Result<(), &'static str> {
        let claims = self.0.entry((service.name.clone(), service.port)).or_default();
        if let Some(earlier) =
            claims.iter().find(|earlier| !protocols_differ(earlier.proto, service.proto))
        {
            return Err(earlier.method);
        }
        claims.push(ServiceClaim { proto: service.proto, method: service.method });
        Ok(())
    }
}

fn protocols_differ(one: Option<Protocol>, other: Option<Protocol>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}
