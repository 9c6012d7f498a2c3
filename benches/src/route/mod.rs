//! Pathfinding on the main network of February 2026: ours, LDK's, and a plain search, asked the same questions.
//!
//! `data.rs` reads the network and the questions, `ours.rs` `ldk.rs` `plain.rs` answer them, `table.rs` sums up; `hidden.rs` pays
//! over balances that nobody knows.
pub mod data;
pub mod hidden;
pub mod ldk;
pub mod ours;
pub mod plain;
pub mod table;

/// What the last channel's HTLC must still have when it arrives: invoices of LDK ask for so much.
pub const FINAL_CLTV: u16 = 42;
/// The most blocks that a payment may be locked for.
pub const MAX_CLTV: u32 = 1_008;

/// The fee that LDK allows where nobody says otherwise: a hundredth, and 50 sat.
#[must_use]
pub const fn usual_fee_limit(amount_msat: u64) -> u64 {
    amount_msat / 100 + 50_000
}

/// What an answer is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// All fees.
    pub fee_msat: u64,
    /// How many paths.
    pub parts: usize,
}
