//! The daemon: one process that is a node.
//!
//! At this point of the construction it only serves the API, which says that the node is starting.
use std::fs;

use crate::api::{ApiServer, ServerOptions, Shutdown, Slot};
use crate::config::Config;
use crate::error::{ApiError, Code};

/// Runs a node until it is told to stop.
///
/// # Errors
/// Why it cannot start, or had to stop.
pub fn run(config: &Config) -> Result<(), ApiError> {
    fs::create_dir_all(&config.data_dir).map_err(|error| {
        ApiError::new(Code::Disk, format!("{} cannot be made: {error}", config.data_dir.display()))
    })?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| ApiError::new(Code::Internal, format!("no threads: {error}")))?;
    runtime.block_on(async {
        let server = ApiServer::bind(ServerOptions::new(config.api_listen, &config.data_dir)).await?;
        tracing::info!(address = %server.address(), "API listens");
        let shutdown = Shutdown::new();
        shutdown
            .on_signals()
            .map_err(|error| ApiError::new(Code::Internal, format!("no signals: {error}")))?;
        server
            .serve(Slot::new(), shutdown)
            .await
            .map_err(|error| ApiError::new(Code::Internal, format!("the API stopped: {error}")))
    })
}
