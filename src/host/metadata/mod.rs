//! The clouds' metadata services: what address does this machine have?
//!
//! Each is asked for the private address first, the one that the machine's own
//! network knows it by: services find each other inside. The public one counts only
//! where there is no other.

mod clouds;
mod http;

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;

use crate::settings::{Cloud, Environment};
use http::MetadataHttp;

/// Where all the clouds have their service, for their machines alone (GCE calls it
/// metadata.google.internal). By address, as a machine's own resolver may be the one
/// that waits for HighHock's records.
const SERVICE: &str = "http://169.254.169.254";

/// The variable by which tests put another in its place. Not named as the settings'
/// variables are: it is none.
const TEST_SERVICE: &str = "TEST_METADATA_OF_HIGHHOCK";

/// What all questions together may take (SPEC 2).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// An address, and whose service told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataAddress {
    /// The cloud whose machine this is.
    pub cloud: Cloud,
    /// One that clients can connect to.
    pub address: IpAddr,
}

/// The metadata service that this machine can reach, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataClient {
    /// Scheme and authority, without a slash at the end.
    pub service: String,
    /// What all questions together may take.
    pub limit: Duration,
}

impl MetadataClient {
    /// The clouds' own; or the one that a test names in the environment.
    pub fn from_environment(environment: &Environment) -> Self {
        let service = environment.get(TEST_SERVICE).unwrap_or_else(|| SERVICE.to_owned());
        Self { service, limit: REQUEST_TIMEOUT }
    }

    /// Asks as the machine of each of these clouds would, all at once. Of several that
    /// answer, the first in the list counts, never the fastest.
    ///
    /// # Errors
    /// None answers with an address: why, for each.
    pub async fn find_address(
        &self,
        clouds: &[Cloud],
    ) -> Result<MetadataAddress, Vec<(Cloud, String)>> {
        let http = MetadataHttp::new(&self.service, self.limit);
        let answers = clouds.iter().map(|&cloud| self.query_cloud(&http, cloud));
        let mut failures = Vec::new();
        for (cloud, answer) in join_all(answers).await {
            match answer {
                Ok(address) => return Ok(MetadataAddress { cloud, address }),
                Err(reason) => failures.push((cloud, reason)),
            }
        }
        Err(failures)
    }

    async fn query_cloud(
        &self,
        http: &MetadataHttp,
        cloud: Cloud,
    ) -> (Cloud, Result<IpAddr, String>) {
        let answer = tokio::time::timeout(self.limit, clouds::address(http, cloud)).await;
        let answer = answer.unwrap_or_else(|_| Err(clouds::timeout_reason(cloud, self.limit)));
        (cloud, answer.map_err(|reason| format!("{}: {reason}", self.service)))
    }
}
