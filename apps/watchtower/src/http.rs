//! How an operator, and a monitoring system, look at the tower: `/` a page, `/healthz`, `/metrics`, `/v1/status`.
//!
//! Everything is read only; nothing secret is shown. It listens on loopback unless told otherwise, and tells who the clients
//! are: put it behind something that asks for a password before it leaves the machine.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use crate::status::Status;
use crate::tower::Inner;

/// Serves until the runtime ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(tower: Arc<Inner>, listen: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/", get(page))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .with_state(tower);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the status page is gone: {error}");
        }
    });
    Ok(bound)
}

/// Collected where it may block: sizes are counted from the disk now and then.
async fn collect(tower: Arc<Inner>) -> Result<Status, StatusCode> {
    let collected = tokio::task::spawn_blocking(move || Status::of(&tower)).await;
    collected.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn page(State(tower): State<Arc<Inner>>) -> Result<Html<String>, StatusCode> {
    Ok(Html(collect(tower).await?.page()))
}

/// 200 while no alarm is red, else 503; the alarms in either case.
async fn health(State(tower): State<Arc<Inner>>) -> Response {
    let healthy = tower.alarms.is_healthy();
    let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(json!({ "healthy": healthy, "alarms": tower.alarms.all() }))).into_response()
}

async fn metrics(State(tower): State<Arc<Inner>>) -> Result<Response, StatusCode> {
    let text = collect(tower).await?.metrics();
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

async fn status(State(tower): State<Arc<Inner>>) -> Result<axum::Json<Status>, StatusCode> {
    collect(tower).await.map(axum::Json)
}
