//! adapters/keys
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "adapters are where the outside world is touched (I1)"
)]
