//! Attribution data (BOLT 4, "Initialization of `attribution_data`" and what follows; `option_attribution_data`).
//!
//! Each node on the way back adds how long it held the HTLC and short HMACs over what it passes on, so the origin learns
//! who was slow and between which two nodes a failure was spoiled.
//!
//! # Invariants
//! - a node never needs to know its position: it computes one HMAC for each position it might have
//! - data of any content is safe to transform; only the origin, which has all secrets, can judge it
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bitcoin::hashes::{Hash as _, HashEngine as _, Hmac, HmacEngine, sha256};
use subtle::ConstantTimeEq as _;

use super::error_packet::wrap;
use super::secret::{KeyKind, SharedSecret};
use crate::codec::{Decode, DecodeError, Encode, Reader};

/// Most hops that attribution covers.
pub const MAX_ATTRIBUTED_HOPS: usize = 20;
/// `20*u32` hold times and `210*sha256[..4]` truncated HMACs (BOLT 2, "Removing an HTLC").
pub const ATTRIBUTION_DATA_LEN: usize = HOLD_TIMES_LEN + HMACS_LEN;

const HOLD_TIMES_LEN: usize = 4 * MAX_ATTRIBUTED_HOPS;
const HMACS_LEN: usize = 4 * MAX_ATTRIBUTED_HOPS * (MAX_ATTRIBUTED_HOPS + 1) / 2;

/// The `attribution_data` record of `update_fail_htlc` and `update_fulfill_htlc`.
#[derive(Clone, PartialEq, Eq)]
pub struct AttributionData {
    /// One for each hop, this node's first.
    hold_times: [[u8; 4]; MAX_ATTRIBUTED_HOPS],
    /// `rows[x][y]` is the HMAC that node `x` (counted from here) made for the case that it is `y` hops away from the
    /// end. Row `x` has `20 - x` of them, for whoever is `x` hops behind somebody has fewer positions to choose from.
    rows: Box<[[[u8; 4]; MAX_ATTRIBUTED_HOPS]; MAX_ATTRIBUTED_HOPS]>,
}

impl AttributionData {
    /// All zero: what a node starts from when there is none from downstream.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            hold_times: [[0; 4]; MAX_ATTRIBUTED_HOPS],
            rows: Box::new([[[0; 4]; MAX_ATTRIBUTED_HOPS]; MAX_ATTRIBUTED_HOPS]),
        }
    }

    /// What a node does to the data on the way back: make room, add hold time and HMACs over `packet` (as it was before
    /// this node obfuscated it), obfuscate.
    pub(super) fn add_hop(&mut self, secret: &SharedSecret, packet: &[u8], hold_time: u32) {
        self.shift_right();
        if let Some(first) = self.hold_times.first_mut() {
            *first = hold_time.to_be_bytes();
        }
        let own = self.hmacs(secret, packet);
        if let Some(row) = self.rows.first_mut() {
            *row = own;
        }
        self.obfuscate(secret);
    }

    /// Hold times of the first hops of a route, as far as their HMACs match; `packet` is what came back with the data.
    ///
    /// All hops are looked at even after one that does not match, for the time it takes must not tell which.
    pub(super) fn verify(mut self, secrets: &[SharedSecret], mut packet: Vec<u8>) -> Vec<u32> {
        let mut hold_times = Vec::new();
        let mut all_match = secrets.len() <= MAX_ATTRIBUTED_HOPS;
        for (hop, secret) in secrets.iter().enumerate() {
            wrap(secret, &mut packet);
            let distance = secrets.len().saturating_sub(hop).saturating_sub(1);
            match self.verify_hop(secret, &packet, distance) {
                Some(hold_time) if all_match => hold_times.push(hold_time),
                _ => all_match = false,
            }
        }
        hold_times
    }

    /// What the origin does for one hop: remove its obfuscation, check its HMAC for the position `distance` hops before
    /// the end, go on to the next. Gives the hold time, or `None` when the HMAC does not match.
    fn verify_hop(&mut self, secret: &SharedSecret, packet: &[u8], distance: usize) -> Option<u32> {
        self.obfuscate(secret);
        let mut engine = secret.key(KeyKind::Um).hmac_engine();
        engine.input(packet);
        let expected = self.hmac_at(engine, distance);
        let found = self.rows.first().and_then(|row| row.get(distance)).copied();
        let hold_time = self.hold_times.first().copied();
        self.shift_left();
        let is_authentic = found.is_some_and(|found| expected.ct_eq(&found).into());
        if is_authentic { hold_time.map(u32::from_be_bytes) } else { None }
    }

    /// BOLT 4: "The left-most HMAC for each hop is discarded", `hmac_x_y` becomes `hmac_x+1_y`.
    fn shift_right(&mut self) {
        self.hold_times.rotate_right(1);
        self.rows.rotate_right(1);
        for (row, hmacs) in self.rows.iter_mut().enumerate() {
            for hmac in hmacs.iter_mut().skip(row_len(row)) {
                *hmac = [0; 4];
            }
        }
    }

    fn shift_left(&mut self) {
        self.hold_times.rotate_left(1);
        self.rows.rotate_left(1);
        if let (Some(time), Some(row)) = (self.hold_times.last_mut(), self.rows.last_mut()) {
            *time = [0; 4];
            *row = [[0; 4]; MAX_ATTRIBUTED_HOPS];
        }
    }

    /// This node's HMACs for every distance to the end (BOLT 4: over the packet, the first `y + 1` hold times and the `y`
    /// downstream HMACs that fit this position).
    fn hmacs(&self, secret: &SharedSecret, packet: &[u8]) -> [[u8; 4]; MAX_ATTRIBUTED_HOPS] {
        // The packet is the same for all positions, so it is hashed once.
        let mut after_packet = secret.key(KeyKind::Um).hmac_engine();
        after_packet.input(packet);
        core::array::from_fn(|distance| self.hmac_at(after_packet.clone(), distance))
    }

    fn hmac_at(&self, mut engine: HmacEngine<sha256::Hash>, distance: usize) -> [u8; 4] {
        for time in self.hold_times.iter().take(distance.saturating_add(1)) {
            engine.input(time);
        }
        for (row, position) in self.rows.iter().skip(1).zip((0..distance).rev()) {
            if let Some(hmac) = row.get(position) {
                engine.input(hmac);
            }
        }
        let [a, b, c, d, ..] = Hmac::from_engine(engine).to_byte_array();
        [a, b, c, d]
    }

    /// XORs the node's `ammagext` stream over the data as it stands on the wire.
    fn obfuscate(&mut self, secret: &SharedSecret) {
        let mut stream = secret.key(KeyKind::Ammagext).stream();
        stream.apply(self.hold_times.as_flattened_mut());
        for (row, hmacs) in self.rows.iter_mut().enumerate() {
            // On the wire the farthest position comes first, and the stream follows the wire.
            if let Some(used) = hmacs.get_mut(..row_len(row)) {
                used.reverse();
                stream.apply(used.as_flattened_mut());
                used.reverse();
            }
        }
    }
}

/// HMACs that row `row` has.
const fn row_len(row: usize) -> usize {
    MAX_ATTRIBUTED_HOPS.saturating_sub(row)
}

/// The data to send upstream with a fulfilment (BOLT 4, "Hold times for successful payments").
///
/// `downstream` is what came with the fulfilment from the next node: `None` at the final node, or when that node does not
/// support attribution. `hold_time` counts units of 100 milliseconds; zero if not measured.
#[must_use]
pub fn fulfil(secret: &SharedSecret, downstream: Option<AttributionData>, hold_time: u32) -> AttributionData {
    let mut data = downstream.unwrap_or_else(AttributionData::empty);
    data.add_hop(secret, &[], hold_time);
    data
}

/// Reads the hold times of a fulfilled payment at its origin: those of the first nodes of the path, as far as their HMACs
/// hold. `secrets` are those of all hops, in order.
#[must_use]
pub fn verify_fulfilment(secrets: &[SharedSecret], data: AttributionData) -> Vec<u32> {
    data.verify(secrets, Vec::new())
}

impl fmt::Debug for AttributionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttributionData(..)")
    }
}

/// Hold times, then the rows one after the other, each with its farthest position first.
impl Encode for AttributionData {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.hold_times.as_flattened());
        for (row, hmacs) in self.rows.iter().enumerate() {
            for hmac in hmacs.iter().take(row_len(row)).rev() {
                out.extend_from_slice(hmac);
            }
        }
    }
}

impl Decode for AttributionData {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut data = Self::empty();
        for time in &mut data.hold_times {
            *time = reader.array()?;
        }
        for (row, hmacs) in data.rows.iter_mut().enumerate() {
            for hmac in hmacs.iter_mut().take(row_len(row)).rev() {
                *hmac = reader.array()?;
            }
        }
        Ok(data)
    }
}
