//! The running server.

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

/// How many threads answer, at most: one host's questions keep no more busy.
const THREADS_MAX: usize = 4;

/// How long the end waits for answers that are being written.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// How DNS is to be answered.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// Where to answer, UDP and TCP; port 0: both on one free port.
    pub listen: Vec<SocketAddr>,
    /// Whom to ask about other domains, in this order; none: they are refused.
    pub forward: Vec<SocketAddr>,
    /// The domain to answer for.
    pub domain: DomainName,
    /// The first part of every key.
    pub prefix: String,
    /// UDP answers a second to one source network; 0: no limit.
    pub rate_limit: u32,
}

/// The running server: answers on threads of its own until it is dropped.
#[derive(Debug)]
pub struct DnsServer {
    addresses: Vec<SocketAddr>,
    stats: DnsStats,
    /// Its drop ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Binds all addresses, UDP and TCP, and answers from `zone` until dropped.
    ///
    /// # Errors
    /// Where it can't be started, and what to try.
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
        // The runtime begins and ends there: within another one, where this may be called,
        // none can end.
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
        // A thread that ended without a word has panicked.
        let no_start = || Err(DnsError::Threads(io::Error::other("it ended at once")));
        startup.recv().unwrap_or_else(|_| no_start()).map(|()| server)
    }

    /// Where it answers, with the ports that were found.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its running counters.
    pub fn stats(&self) -> DnsStats {
        self.stats.clone()
    }
}

impl Drop for DnsServer {
    /// The addresses are free when it returns.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One core is left to everybody else: with as many threads as cores, each waits for the
/// other programs' turns, and the slowest answers take four times as long.
fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).clamp(1, THREADS_MAX)
}

/// Starts the threads, and answers at all addresses.
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

/// Answers at one address: UDP on as many tasks as there are threads, which take
/// turns at one socket, so that one busy client is served by all.
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

/// Whether a server is this one itself: at one of its addresses, or, where it answers
/// at all of a host's, at its port on one of them.
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
        let socket = |text: &str| text.parse::<SocketAddr>().expect("an address and a port");
        let own_ips = ["127.0.0.1", "172.17.0.1", "2001:db8::7"];
        let own_ips = own_ips.map(|ip| ip.parse().expect("an address")).into();
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
