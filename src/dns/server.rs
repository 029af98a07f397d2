//! [`DnsServer`]: runs the DNS server on threads of its own.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use highhock_actors::model::names::DomainName;
use slog::Logger;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::client_acl::own_addresses;
use super::forward::Forwarder;
use super::lookup::NameIndex;
use super::rate_limit::RateLimiter;
use super::responder::Responder;
use super::sockets::{self, BoundSockets};
use super::stats::DnsStats;
use super::tcp;
use super::udp::UdpServer;
use super::zone_names::ZoneNames;
use crate::dns::error::DnsError;
use crate::zone::Zone;

/// The maximum number of threads. The queries of one host do not need more.
const THREADS_MAX: usize = 4;

/// The time that a stop waits for responses in progress.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of the DNS server.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// The addresses for UDP and TCP. Port 0 chooses one port that is free for both.
    pub listen: Vec<SocketAddr>,
    /// The upstreams in order of preference. If empty, queries for other domains are refused.
    pub forward: Vec<SocketAddr>,
    /// The domain that the server is responsible for.
    pub domain: DomainName,
    /// The first part of every key.
    pub prefix: String,
    /// UDP responses per second and source network. 0 disables the limit.
    pub rate_limit: u32,
}

/// The running DNS server. Dropping it stops the server and frees its addresses.
#[derive(Debug)]
pub struct DnsServer {
    addresses: Vec<SocketAddr>,
    stats: DnsStats,
    /// Dropping the sender stops the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Binds all addresses for UDP and TCP, and answers from `zone` until the server is dropped.
    ///
    /// # Errors
    /// Returns an error with a remedy if the domain is too long, an address cannot be bound, an
    /// upstream is this server itself, or the threads cannot be started.
    pub fn start(settings: DnsSettings, zone: Zone, log: &Logger) -> Result<Self, DnsError> {
        let domain = ZoneNames::new(&settings.domain, &settings.prefix)
            .map_err(|_| DnsError::Domain(settings.domain.clone()))?;
        let bound =
            settings.listen.into_iter().map(sockets::bind).collect::<Result<Vec<_>, _>>()?;
        let addresses = bound.iter().map(|bound| bound.address).collect::<Vec<_>>();
        let own_ips = own_addresses();
        let is_own = |server: &&SocketAddr| is_own(**server, &addresses, &own_ips);
        if let Some(own) = settings.forward.iter().find(is_own) {
            return Err(DnsError::ForwardsToItself(*own));
        }
        let stats = DnsStats::default();
        let responder = Arc::new(Responder::new(
            NameIndex { zone, domain },
            Forwarder::new(settings.forward, stats.clone(), log.clone()),
            RateLimiter::new(settings.rate_limit),
            stats.clone(),
            log.clone(),
        ));
        let (stop, stopped) = oneshot::channel();
        let (started, startup) = mpsc::channel();
        // The thread creates and drops the runtime. A runtime must not be dropped within another
        // runtime, in which this function may be called.
        let thread =
            thread::Builder::new().name("dns".to_owned()).spawn(move || {
                match start_runtime(bound, &responder) {
                    Ok(runtime) => {
                        let _ = started.send(Ok(()));
                        let _ = runtime.block_on(stopped);
                        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            });
        let thread = thread.map_err(DnsError::from_spawn)?;
        let server = Self { addresses, stats, stop: Some(stop), thread: Some(thread) };
        // A thread that ends without a result has panicked.
        let no_start = || Err(DnsError::Threads(io::Error::other("the thread ended at once")));
        startup.recv().unwrap_or_else(|_| no_start()).map(|()| server)
    }

    /// Returns the bound addresses, with the chosen ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the counters of the server.
    pub fn stats(&self) -> DnsStats {
        self.stats.clone()
    }
}

impl Drop for DnsServer {
    /// Waits until the thread has ended, so that the addresses are free afterwards.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns the number of threads. One core is left to other programs. With as many threads as
/// cores, each thread waits for the other programs, and the slowest responses take four times as
/// long.
fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).clamp(1, THREADS_MAX)
}

/// Starts the runtime and serves all addresses.
fn start_runtime(
    bound: Vec<BoundSockets>,
    responder: &Arc<Responder>,
) -> Result<Runtime, DnsError> {
    let threads = threads();
    let runtime = runtime(threads).map_err(DnsError::from_spawn)?;
    for bound in bound {
        let address = bound.address;
        serve(&runtime, bound, threads, responder)
            .map_err(|error| DnsError::from_bind(address, error))?;
    }
    Ok(runtime)
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("dns")
        .enable_io()
        .enable_time()
        .build()
}

/// Serves one address. As many tasks as threads read the UDP socket in turn, so that all threads
/// share the queries of one busy client.
fn serve(
    runtime: &Runtime,
    bound: BoundSockets,
    threads: usize,
    responder: &Arc<Responder>,
) -> io::Result<()> {
    let _within = runtime.enter();
    for _ in 0..threads {
        let udp_server = UdpServer::new(bound.udp.try_clone()?)?;
        runtime.spawn(udp_server.serve(responder.clone()));
    }
    let listener = tokio::net::TcpListener::from_std(bound.tcp)?;
    runtime.spawn(tcp::serve(listener, responder.clone()));
    Ok(())
}

/// Returns `true` if `server` is an address of this server. A server that listens on all
/// addresses has its port on every address of the host.
fn is_own(server: SocketAddr, addresses: &[SocketAddr], own_ips: &HashSet<IpAddr>) -> bool {
    let ip = server.ip().to_canonical();
    addresses.iter().any(|own| {
        let is_wildcard = own.ip().is_unspecified() && own.is_ipv4() == ip.is_ipv4();
        let is_same_host = own.ip() == ip
            || is_wildcard && (ip.is_loopback() || ip.is_unspecified() || own_ips.contains(&ip));
        own.port() == server.port() && is_same_host
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_addresses_cover_every_local_address() {
        let socket = |text: &str| text.parse::<SocketAddr>().expect("valid socket address");
        let own_ips = ["127.0.0.1", "172.17.0.1", "2001:db8::7"];
        let own_ips = own_ips.map(|ip| ip.parse().expect("valid address")).into();
        let is_own = |server, own| is_own(socket(server), &[socket(own)], &own_ips);
        for own in ["127.0.0.9:53", "172.17.0.1:53", "0.0.0.0:53", "[::ffff:172.17.0.1]:53"] {
            assert!(is_own(own, "0.0.0.0:53"), "{own}");
        }
        assert!(is_own("[2001:db8::7]:53", "[::]:53") && is_own("[::1]:53", "[::]:53"));
        for other in ["172.17.0.1:54", "172.17.0.2:53", "[2001:db8::7]:53"] {
            assert!(!is_own(other, "0.0.0.0:53"), "{other}");
        }
        assert!(is_own("172.17.0.1:53", "172.17.0.1:53"));
        assert!(!is_own("172.17.0.1:53", "127.0.0.1:53"));
    }
}
