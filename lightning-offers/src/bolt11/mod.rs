//! BOLT 11 invoices.
//!
//! | file | what |
//! | --- | --- |
//! | `invoice.rs` | [`Bolt11Invoice`]: what a payer asks of an invoice |
//! | `parse.rs` | text to invoice |
//! | `build.rs` | [`InvoiceBuilder`]: fields to signed invoice |
//! | `field.rs` | tagged fields one by one |
//! | `prefix.rs` | currency and amount of the human-readable part |
//! | `symbol.rs` | bits, bytes and numbers in symbols of five bits |
//! | `error.rs` | why text is no invoice |
mod build;
mod error;
mod fallback;
mod field;
mod invoice;
mod parse;
mod prefix;
mod symbol;

pub use build::{BuildError, InvoiceBuilder};
pub use error::Bolt11Error;
pub use fallback::Fallback;
pub use field::{Field, Tag};
pub use invoice::{Bolt11Invoice, DEFAULT_EXPIRY_SECONDS, DEFAULT_MIN_FINAL_CLTV_EXPIRY_DELTA, Description};
pub use prefix::Currency;
