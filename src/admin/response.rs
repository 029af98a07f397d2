//! Error responses of the admin interface.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;

use super::bridge::NoAnswer;

/// A refusal with its reason.
pub(super) fn refusal(status: StatusCode, reason: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "reason": reason }))
}

pub(super) fn unavailable(why: &NoAnswer) -> HttpResponse {
    refusal(StatusCode::SERVICE_UNAVAILABLE, &why.to_string())
}
