//! The HTTP server: where the settings say, for as long as the daemon runs.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::ThinData;
use actix_web::{App, HttpServer};
use highhock_actors::runtime::backoff::Backoff;
use slog::{Logger, warn};

use super::auth::{Guard, guarded};
use super::bridge::Window;
use super::endpoints;
use super::host_check::{Hosts, Others};
use super::token::{Token, UnusableToken};
use crate::host::name::machine_name;
use crate::settings::Admin;

/// Between two tries to listen.
const RETRY: Backoff =
    Backoff { first: Duration::from_secs(1), factor: 2, cap: Duration::from_secs(30) };
/// How many may be connected at a time.
const CONNECTIONS: usize = 64;
/// How long a connection may be idle between two questions.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a question may take to arrive.
const SLOWEST_QUESTION: Duration = Duration::from_secs(5);

/// Why nothing is shown for now.
#[derive(Debug, thiserror::Error)]
enum NotServing {
    #[error(
        "listening at {address}: {error}; is another program listening there? set admin.listen"
    )]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Token(#[from] UnusableToken),
    #[error("the server ended: {0}")]
    Ended(String),
}

/// Serves where the settings say, and elsewhere when they change. What keeps it from that
/// is logged, and tried again: records come first.
pub async fn serve(window: Window, log: Logger) {
    let mut seen = window.in_force.clone();
    loop {
        let admin = seen.borrow_and_update().admin.clone();
        let changed = async {
            // Other settings than these may change.
            while seen.changed().await.is_ok() {
                if seen.borrow_and_update().admin != admin {
                    return;
                }
            }
            std::future::pending().await
        };
        match admin.listen {
            Some(address) => {
                let stop = serve_until(address, &admin, &window, &log, changed);
                stop.await;
            }
            None => changed.await,
        }
    }
}

async fn serve_until(
    address: SocketAddr,
    admin: &Admin,
    window: &Window,
    log: &Logger,
    end: impl Future<Output = ()>,
) {
    tokio::pin!(end);
    let mut failures = 0;
    loop {
        let error = match start(address, admin, window, log) {
            Ok(server) => {
                let handle = server.handle();
                let mut serving = actix_rt::spawn(server);
                notice!(log, "state is shown over http"; "address" => address.to_string());
                failures = 0;
                tokio::select! {
                    ended = &mut serving => NotServing::Ended(format!("{ended:?}")),
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
            () = tokio::time::sleep(RETRY.wait(failures, fastrand::f64())) => {}
            () = &mut end => return,
        }
    }
}

fn start(
    address: SocketAddr,
    admin: &Admin,
    window: &Window,
    log: &Logger,
) -> Result<actix_web::dev::Server, NotServing> {
    // Read here already, so that a file that can't be read is told.
    Token::of(admin, log)?;
    let listen = |error| NotServing::Listen { address, error };
    let listener = TcpListener::bind(address).map_err(listen)?;
    let (admin, window, log) = (admin.clone(), window.clone(), log.clone());
    // One thread is plenty for an operator's questions.
    let server = HttpServer::new(move || {
        let guard = Rc::new(guard(address, &admin, &log));
        App::new()
            .app_data(ThinData(guard))
            .app_data(ThinData(window.clone()))
            .wrap(from_fn(guarded))
            .configure(endpoints::all)
    });
    let server = server
        .workers(1)
        .disable_signals()
        .max_connections(CONNECTIONS)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(SLOWEST_QUESTION)
        .shutdown_timeout(1)
        .listen(listener)
        .map_err(listen)?;
    Ok(server.run())
}

fn guard(address: SocketAddr, admin: &Admin, log: &Logger) -> Guard {
    // It was read a moment ago. Where that does not hold any more, nobody is let in.
    let token = Token::of(admin, log).unwrap_or_else(|_| Some(Token::lost()));
    let others = match (&token, address.ip().is_loopback()) {
        (Some(_), _) => Others::Taken,
        (None, false) => Others::Unspoofable,
        (None, true) => Others::Refused,
    };
    let machine = machine_name().unwrap_or_default();
    Guard { hosts: Hosts::new(address.ip(), &machine, others), token }
}
