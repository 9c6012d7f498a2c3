//! The local HTTP/JSON API: its methods, what they take and answer, and the server.
//!
//! `methods.rs` is the one table; `request.rs` and `response.rs` are the values; `backend.rs` is what a node
//! implements; `server.rs` puts a backend behind HTTP, `token.rs` behind a secret.
mod backend;
mod decode;
pub mod kind;
pub mod methods;
pub mod psbt;
pub mod request;
pub mod response;
mod server;
mod shutdown;
mod token;

pub use backend::{Backend, Slot};
pub use decode::{currency_network, describe_invoice, network_name, parse_invoice};
pub use server::{ApiServer, ServerOptions};
pub use shutdown::Shutdown;
pub use token::{ADDRESS_FILE, TOKEN_FILE, read_token};
