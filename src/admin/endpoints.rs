//! What is answered at each path.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use actix_web::web::{self, ServiceConfig, ThinData};
use actix_web::{HttpRequest, HttpResponse, Responder};
use highhock_actors::core::meters;
use highhock_actors::status::Standing;
use serde::Serialize;
use serde_json::json;

use super::auth::PAGE;
use super::bridge::{NoAnswer, Window};
use super::daemon_api::{Observe, Told};
use super::page;
use super::rows::{ActorRow, ChangeRow, ConfigRow, ContainerRow, RecordRow};
use super::status::Summary;
use crate::admin::response::{refusal, unavailable};
use crate::docker::Docker;
use crate::metrics::{Format, render};
use crate::record_store::Store;

type Looking = ThinData<Window>;

/// All paths; what else is asked for is not found.
pub(super) fn all(config: &mut ServiceConfig) {
    config
        .route(PAGE, web::to(status_page))
        .route("/healthz", web::to(healthz))
        .route("/readyz", web::to(readyz))
        .route("/metrics", web::to(metrics))
        .route("/actors", web::to(actors))
        .route("/containers", web::to(containers))
        .route("/records", web::to(records))
        .route("/changes", web::to(changes))
        .route("/status", web::to(status))
        .route("/config", web::to(config_shown))
        .default_service(web::to(not_found));
}

/// An array of rows, or why there is none.
fn rows<R: Serialize, T: Into<R>>(told: Result<Vec<T>, NoAnswer>) -> HttpResponse {
    match told {
        Ok(told) => HttpResponse::Ok().json(told.into_iter().map(Into::into).collect::<Vec<R>>()),
        Err(why) => unavailable(&why),
    }
}

async fn status_page() -> impl Responder {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, page::policy()))
        .body(page::PAGE)
}

async fn healthz(window: Looking) -> impl Responder {
    match window.ask("one of the actors", |core| core.answers()).await {
        Ok(()) => HttpResponse::Ok().json(json!({ "healthy": true })),
        // The thread that they will run on answers; a restart would mend nothing.
        Err(NoAnswer::NoCore(why)) => {
            HttpResponse::Ok().json(json!({ "healthy": true, "note": why }))
        }
        Err(why) => unavailable(&why),
    }
}

async fn readyz(window: Looking) -> impl Responder {
    let (kind, reason) = match standing(&window).await.as_ref().map(Standing::ready) {
        Ok(Ok(())) => return HttpResponse::Ok().json(json!({ "ready": true })),
        Ok(Err(not)) => (not.kind(), not.to_string()),
        Err(why) => (why.kind(), why.to_string()),
    };
    let body = json!({ "ready": false, "kind": kind, "reason": reason });
    HttpResponse::ServiceUnavailable().json(body)
}

async fn standing(window: &Window) -> Result<Standing, NoAnswer> {
    window.ask("EtcdInserter", |core| core.standing()).await
}

/// Always 200: that something is not as it should be is what it tells.
async fn status(window: Looking) -> impl Responder {
    let standing = standing(&window).await;
    let in_force = window.in_force.borrow().clone();
    web::Json(Summary::of(standing, &in_force, window.lines.read(), window.started))
}

/// In the format that the client prefers. What an actor doesn't tell is left out.
async fn metrics(request: HttpRequest, window: Looking) -> impl Responder {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept);
    match window.reading().await {
        Ok(reading) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, format.content_type()))
            .insert_header((VARY, "accept"))
            .body(render(reading, format)),
        Err(why) => unavailable(&why),
    }
}

/// Needs no answer of an actor: one that hangs is to be seen here.
async fn actors() -> impl Responder {
    let meters = meters::<Docker, Store>();
    web::Json(meters.into_iter().map(ActorRow::from).collect::<Vec<_>>())
}

async fn containers(window: Looking) -> impl Responder {
    rows::<ContainerRow, _>(window.ask("Registry", |core| core.containers()).await)
}

async fn records(window: Looking) -> impl Responder {
    rows::<RecordRow, _>(window.ask("EtcdInserter", |core| core.records()).await)
}

async fn changes(window: Looking) -> impl Responder {
    let changes = |core: &dyn Observe| -> Told<Option<_>> {
        let changes = core.changes();
        Box::pin(async { Some(changes) })
    };
    rows::<ChangeRow, _>(window.ask("the actors' thread", changes).await)
}

async fn config_shown(window: Looking) -> impl Responder {
    let in_force = window.in_force.borrow().clone();
    if in_force.admin.allow_remote {
        return refusal(StatusCode::FORBIDDEN, "not shown while admin.allowRemote is true");
    }
    rows::<ConfigRow, _>(Ok(in_force.effective))
}

async fn not_found() -> impl Responder {
    refusal(
        StatusCode::NOT_FOUND,
        "there is /, /healthz, /readyz, /status, /metrics, /actors, /containers, /records, \
         /changes, /config",
    )
}
