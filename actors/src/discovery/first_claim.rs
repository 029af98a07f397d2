//! Who was the first to name a service.

use std::collections::HashMap;
use std::num::NonZeroU16;

use crate::model::container::Protocol;
use crate::model::names::ServiceName;
use crate::model::service::Service;

/// The services named so far.
///
/// Two entries name the same service where name and port are the same, unless each
/// gives a protocol and they differ: `named:53/tcp,named:53/udp` are two services,
/// since an instance of either has a key of its own. An entry without a protocol
/// stands for whichever is published, so it is the same as any.
#[derive(Default)]
pub struct FirstClaims(HashMap<(ServiceName, NonZeroU16), Vec<ServiceClaim>>);

struct ServiceClaim {
    proto: Option<Protocol>,
    method: &'static str,
}

impl FirstClaims {
    /// Notes that this service was named.
    ///
    /// # Errors
    /// The method that named it before.
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
