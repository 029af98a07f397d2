//! The clouds' metadata services, which supply the address of this machine.
//!
//! Each service is queried for the private address first, because services find each other inside
//! the cloud's network. The public address is used only if there is no private one.

mod clouds;
mod http;

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;

use crate::settings::{Cloud, Environment};
use http::MetadataHttp;

/// The service of all clouds, which only their machines can reach. GCE's name for it is
/// metadata.google.internal. The address is used, because the machine's resolver may depend on
/// HighHock's records.
const SERVICE: &str = "http://169.254.169.254";

/// The variable by which tests replace [`SERVICE`].
const TEST_SERVICE: &str = "HIGHHOCK_TEST_METADATA_URL";

/// The time limit of all requests together (`config/README.md`, "Published address").
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The address of this machine, with the cloud that supplied it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataAddress {
    /// The cloud to which this machine belongs.
    pub cloud: Cloud,
    /// An address that clients can connect to.
    pub address: IpAddr,
}

/// A client of the metadata service at one address, which may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataClient {
    /// The scheme and authority of the service, without a slash at the end.
    pub service: String,
    /// The time limit of all requests together.
    pub limit: Duration,
}

impl MetadataClient {
    /// Creates a client of the clouds' service, or of the service that a test names in the
    /// environment.
    pub fn from_environment(environment: &Environment) -> Self {
        let service = environment.get(TEST_SERVICE).unwrap_or_else(|| SERVICE.to_owned());
        Self { service, limit: REQUEST_TIMEOUT }
    }

    /// Queries the service in the way of each of these clouds, all at once.
    ///
    /// If several queries succeed, the first cloud in the list wins, and not the fastest.
    ///
    /// # Errors
    /// Returns the reason for each cloud if no query returns an address.
    pub async fn find_address(
        &self,
        clouds: &[Cloud],
    ) -> Result<MetadataAddress, Vec<(Cloud, String)>> {
        let http = MetadataHttp::new(&self.service, self.limit);
        let queries = clouds.iter().map(|&cloud| self.query_cloud(&http, cloud));
        let mut failures = Vec::new();
        for (cloud, result) in join_all(queries).await {
            match result {
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
        let result = tokio::time::timeout(self.limit, clouds::address(http, cloud)).await;
        let result = result.unwrap_or_else(|_| Err(clouds::timeout_reason(cloud, self.limit)));
        (cloud, result.map_err(|reason| format!("{}: {reason}", self.service)))
    }
}
