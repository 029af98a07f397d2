//! Error responses of the admin interface.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;

use super::bridge::QueryError;

/// Returns an error response with a reason in JSON.
pub(super) fn error_response(status: StatusCode, reason: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "reason": reason }))
}

pub(super) fn unavailable(error: &QueryError) -> HttpResponse {
    error_response(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
}
