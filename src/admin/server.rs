//! The HTTP server of the admin interface.

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

/// The pauses between two attempts to listen.
const RETRY_BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), factor: 2, cap: Duration::from_secs(30) };
/// The largest number of connections.
const CONNECTIONS_MAX: usize = 64;
/// The longest idle time of a connection between two requests.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// The time limit for receiving a request.
const REQUEST_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A reason for which the server does not run.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(
        "cannot listen on {address}: {error}; is another program listening there? set admin.listen"
    )]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("server stopped: {0}")]
    Stopped(String),
}

/// Serves the admin interface at the address in the settings, and follows changes of the settings.
///
/// Failures are logged and retried, because records take precedence over the admin interface.
pub async fn serve(bridge: BridgeHandle, log: Logger) {
    let mut active_config = bridge.active_config.clone();
    loop {
        let admin = active_config.borrow_and_update().admin.clone();
        let changed = async {
            // Ignore changes of other settings.
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
                notice!(log, "admin interface listening"; "address" => address.to_string());
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
            warn!(log, "admin interface unavailable; retrying"; "error" => %error);
        } else {
            info!(log, "admin interface still unavailable"; "error" => %error,
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
    // Loaded here, too, so that an unreadable file is logged.
    Token::load(admin, log)?;
    let listen = |error| ServeError::Listen { address, error };
    let listener = TcpListener::bind(address).map_err(listen)?;
    let (admin, bridge, log) = (admin.clone(), bridge.clone(), log.clone());
    // The requests of an operator need no more than one thread.
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
    // The file was readable a moment ago. If it is not any more, reject every request.
    let token = Token::load(admin, log).unwrap_or_else(|_| Some(Token::unmatchable()));
    let unknown_hosts = match (&token, address.ip().is_loopback()) {
        (Some(_), _) => UnknownHosts::Accepted,
        (None, false) => UnknownHosts::Unspoofable,
        (None, true) => UnknownHosts::Rejected,
    };
    let machine = machine_name().unwrap_or_default();
    AccessPolicy { hosts: AllowedHosts::new(address.ip(), &machine, unknown_hosts), token }
}
