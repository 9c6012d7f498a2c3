//! HTLCs that the peers offer: what their onions ask, whether we forward, how what came of it goes back.
//!
//! Pure functions and pure state; `manager/forwarding.rs` drives them.
//!
//! | file | what |
//! | --- | --- |
//! | `onion.rs` | peels the onion, makes and wraps failures |
//! | `admit.rs` | our terms for forwarding |
//! | `intercepted.rs` | forwards that wait for the user, names of channels to be |
//! | `removal.rs` | removals of incoming HTLCs until they are durable |
pub(crate) mod admit;
pub(crate) mod intercepted;
pub(crate) mod onion;
pub(crate) mod removal;
