//! The endpoints of the admin interface (deploy/README.md, "Admin interface").

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use actix_web::web::{self, ServiceConfig, ThinData};
use actix_web::{HttpRequest, HttpResponse, Responder};
use futures_util::future::LocalBoxFuture;
use highhock_actors::core::mailbox_snapshots;
use highhock_actors::status::CoreStatus;
use serde::Serialize;
use serde_json::json;

use super::auth::PAGE_PATH;
use super::bridge::{BridgeHandle, QueryError};
use super::daemon_api::CoreApi;
use super::page;
use super::rows::{ActorRow, ChangeRow, ConfigRow, ContainerRow, RecordRow};
use super::status::StatusResponse;
use crate::admin::response::{error_response, unavailable};
use crate::docker::DockerClient;
use crate::metrics::{Format, render};
use crate::record_store::Store;

type BridgeData = ThinData<BridgeHandle>;

/// Registers all paths. Every other path is not found.
pub(super) fn register_routes(config: &mut ServiceConfig) {
    config
        .route(PAGE_PATH, web::to(status_page))
        .route("/healthz", web::to(healthz))
        .route("/readyz", web::to(readyz))
        .route("/metrics", web::to(metrics))
        .route("/actors", web::to(actors))
        .route("/containers", web::to(containers))
        .route("/records", web::to(records))
        .route("/changes", web::to(changes))
        .route("/status", web::to(status))
        .route("/config", web::to(show_config))
        .default_service(web::to(not_found));
}

/// Responds with a JSON array of rows, or with the reason of a failed query.
fn rows<R: Serialize, T: Into<R>>(result: Result<Vec<T>, QueryError>) -> HttpResponse {
    match result {
        Ok(result) => {
            HttpResponse::Ok().json(result.into_iter().map(Into::into).collect::<Vec<R>>())
        }
        Err(error) => unavailable(&error),
    }
}

async fn status_page() -> impl Responder {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, page::content_security_policy()))
        .body(page::PAGE)
}

async fn healthz(bridge: BridgeData) -> impl Responder {
    match bridge.query("one of the actors", |core| core.ping_actors()).await {
        Ok(()) => HttpResponse::Ok().json(json!({ "healthy": true })),
        // The daemon waits for Docker or etcd, and a restart would not help.
        Err(QueryError::NotRunning(error)) => {
            HttpResponse::Ok().json(json!({ "healthy": true, "note": error }))
        }
        Err(error) => unavailable(&error),
    }
}

async fn readyz(bridge: BridgeData) -> impl Responder {
    let (kind, reason) = match core_status(&bridge).await.as_ref().map(CoreStatus::ready) {
        Ok(Ok(())) => return HttpResponse::Ok().json(json!({ "ready": true })),
        Ok(Err(not_ready)) => (not_ready.kind(), not_ready.to_string()),
        Err(error) => (error.kind(), error.to_string()),
    };
    let body = json!({ "ready": false, "kind": kind, "reason": reason });
    HttpResponse::ServiceUnavailable().json(body)
}

async fn core_status(bridge: &BridgeHandle) -> Result<CoreStatus, QueryError> {
    bridge.query("EtcdInserter", |core| core.status()).await
}

/// Always responds with 200, because problems are part of the content.
async fn status(bridge: BridgeData) -> impl Responder {
    let status = core_status(&bridge).await;
    let active_config = bridge.active_config.borrow().clone();
    web::Json(StatusResponse::new(
        status,
        &active_config,
        bridge.recent_logs.read(),
        bridge.started,
    ))
}

/// Responds in the format that the client prefers. Metrics of an actor that does not reply are
/// missing.
async fn metrics(request: HttpRequest, bridge: BridgeData) -> impl Responder {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::negotiate(accept);
    match bridge.metrics_snapshot().await {
        Ok(snapshot) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, format.content_type()))
            .insert_header((VARY, "accept"))
            .body(render(snapshot, format)),
        Err(error) => unavailable(&error),
    }
}

/// Reads counters without a query to an actor, so that an actor that hangs is visible.
async fn actors() -> impl Responder {
    let mailboxes = mailbox_snapshots::<DockerClient, Store>();
    web::Json(mailboxes.into_iter().map(ActorRow::from).collect::<Vec<_>>())
}

async fn containers(bridge: BridgeData) -> impl Responder {
    rows::<ContainerRow, _>(bridge.query("Registry", |core| core.containers()).await)
}

async fn records(bridge: BridgeData) -> impl Responder {
    rows::<RecordRow, _>(bridge.query("EtcdInserter", |core| core.records()).await)
}

async fn changes(bridge: BridgeData) -> impl Responder {
    let changes = |core: &dyn CoreApi| -> LocalBoxFuture<'static, Option<_>> {
        let changes = core.changes();
        Box::pin(async { Some(changes) })
    };
    rows::<ChangeRow, _>(bridge.query("the actors' thread", changes).await)
}

async fn show_config(bridge: BridgeData) -> impl Responder {
    let active_config = bridge.active_config.borrow().clone();
    if active_config.admin.allow_remote {
        return error_response(StatusCode::FORBIDDEN, "hidden while admin.allowRemote is true");
    }
    rows::<ConfigRow, _>(Ok(active_config.effective))
}

async fn not_found() -> impl Responder {
    error_response(
        StatusCode::NOT_FOUND,
        "not found; the paths are /, /healthz, /readyz, /status, /metrics, /actors, /containers, \
         /records, /changes, /config",
    )
}
