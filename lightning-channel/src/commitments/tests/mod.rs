//! Tests of the commitments: two nodes, the wire between them and their disks.
//!
//! | file | what |
//! | --- | --- |
//! | `pair.rs` | the two nodes |
//! | `updates.rs` | each rule of `update_*` |
//! | `dance.rs` | each rule of `commitment_signed` and `revoke_and_ack` |
//! | `resync.rs` | reconnection, all counters |
//! | `borders.rs` | amounts and balances at every border |
//! | `random.rs` | any interleaving of all of it |
mod borders;
mod dance;
mod pair;
mod random;
mod resync;
mod updates;
