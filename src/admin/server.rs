//! The HTTP server: where the settings say, for as long as the daemon runs.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::ThinData;
use actix_web::{App, HttpServer};
use highhock_actors::runtime::backoff::Backoff;
use slog::{Logger, warn};

use super::auth::{AccessPolicy, check_access};
use super::bridge::BridgeHandle;
use super::endpoints;
use super::host_check::{AllowedHosts, UnknownHosts};
use super::token::{Token, TokenError};
use crate::host::name::machine_name;
use crate::settings::Admin;

/// Between two tries to listen.
const RETRY_BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), factor: 2, cap: Duration::from_secs(30) };
/// How many may be connected at a time.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be idle between two questions.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a question may take to arrive.
const REQUEST_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Why nothing is shown for now.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(
        "listening at {address}: {error}; is another program listening there? set admin.listen"
    )]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the server ended: {0}")]
    Stopped(String),
}

/// Serves where the settings say, and elsewhere when they change. What keeps it from that
/// is logged, and tried again: records come first.
pub async fn serve(bridge: BridgeHandle, log: Logger) {
    let mut active_config = bridge.active_config.clone();
    loop {
        let admin = active_config.borrow_and_update().admin.clone();
        let changed = async {
            // Other settings than these may change.
            while active_config.changed().await.is_ok() {
                if active_config.borrow_and_update().admin != admin {
                    return;
                }
            }
            std::future::pending().await
        };
        match admin.listen {
            Some(address) => {
                let stop = serve_until(address, &admin, &bridge, &log, changed);
                stop.await;
            }
            None => changed.await,
        }
    }
}

async fn serve_until(
    address: SocketAddr,
    admin: &Admin,
    bridge: &BridgeHandle,
    log: &Logger,
    end: impl Future<Output = ()>,
) {
    tokio::pin!(end);
    let mut failures = 0;
    loop {
        let error = match start(address, admin, bridge, log) {
            Ok(server) => {
                let handle = server.handle();
                let mut running = actix_rt::spawn(server);
                notice!(log, "state is shown over http"; "address" => address.to_string());
                failures = 0;
                tokio::select! {
                    ended = &mut running => ServeError::Stopped(format!("{ended:?}")),
                    () = &mut end => {
                        handle.stop(false).await;
                        return;
                    }
                }
            }
            Err(error) => error,
        };
        failures += 1;
        if failures == 1 {
            warn!(log, "state can't be shown over http for now; records go on"; "error" => %error);
        } else {
            info!(log, "state still can't be shown over http"; "error" => %error,
                "tries" => failures);
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_BACKOFF.wait(failures, fastrand::f64())) => {}
            () = &mut end => return,
        }
    }
}

fn start(
    address: SocketAddr,
    admin: &Admin,
    bridge: &BridgeHandle,
    log: &Logger,
) -> Result<actix_web::dev::Server, ServeError> {
    // Read here already, so that a file that can't be read is told.
    Token::load(admin, log)?;
    let listen = |error| ServeError::Listen { address, error };
    let listener = TcpListener::bind(address).map_err(listen)?;
    let (admin, bridge, log) = (admin.clone(), bridge.clone(), log.clone());
    // One thread is plenty for an operator's questions.
    let server = HttpServer::new(move || {
        let policy = Rc::new(access_policy(address, &admin, &log));
        App::new()
            .app_data(ThinData(policy))
            .app_data(ThinData(bridge.clone()))
            .wrap(from_fn(check_access))
            .configure(endpoints::register_routes)
    });
    let server = server
        .workers(1)
        .disable_signals()
        .max_connections(CONNECTIONS_MAX)
        .keep_alive(KEEP_ALIVE_TIMEOUT)
        .client_request_timeout(REQUEST_READ_TIMEOUT)
        .shutdown_timeout(1)
        .listen(listener)
        .map_err(listen)?;
    Ok(server.run())
}

fn access_policy(address: SocketAddr, admin: &Admin, log: &Logger) -> AccessPolicy {
    // It was read a moment ago. Where that does not hold any more, nobody is let in.
    let token = Token::load(admin, log).unwrap_or_else(|_| Some(Token::unmatchable()));
    let unknown_hosts = match (&token, address.ip().is_loopback()) {
        (Some(_), _) => UnknownHosts::Accepted,
        (None, false) => UnknownHosts::Unspoofable,
        (None, true) => UnknownHosts::Rejected,
    };
    let machine = machine_name().unwrap_or_default();
    AccessPolicy { hosts: AllowedHosts::new(address.ip(), &machine, unknown_hosts), token }
}
