//! What can stand between two structures: a proxy that only passes on, and one that turns calls into bytes.
#![allow(dead_code, reason = "each user takes what it needs")]

pub(crate) mod bytes;
pub(crate) mod forward;
