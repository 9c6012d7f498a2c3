//! Is the other side still there? Counted in ticks, since the library has no clock (I1).
//!
//! BOLT 1, "The `ping` and `pong` Messages". A tick is about ten seconds; the user decides.
//!
//! # Invariants
//! - at most one ping of ours is unanswered
//! - only whole messages count as signs of life, so a peer that sends byte by byte cannot hold a connection
//! - what a ping costs us to answer is bounded between two ticks

use crate::disconnect::Disconnect;

/// What to do with a ping of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PingAnswer {
    /// Answer it.
    Pong,
    /// Let it pass: it wants no answer, or there were many.
    Ignore,
    /// So many that the connection ends.
    Flood,
}

/// The counters of one connection.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    /// Ticks since the connection began, until it is ready.
    starting: u8,
    /// Ticks since our ping, while its pong is awaited.
    pinged: Option<u8>,
    /// Whether a whole message came since the last tick.
    heard: bool,
    /// Whether the peer took bytes of ours since the last tick, while we did not read.
    drained: bool,
    /// Ticks in a row in which nothing came.
    silent: u8,
    /// Ticks since the last ping was answered.
    since_pong: u8,
    /// Pings of theirs since the last tick, and the bytes of our pongs.
    pings: u16,
    pong_bytes: u32,
}

impl Liveness {
    /// A whole message came.
    pub(crate) const fn on_message(&mut self) {
        self.heard = true;
    }

    /// The peer takes what we send, while we read nothing because of how much that is: its pong cannot be seen.
    pub(crate) const fn on_drained(&mut self) {
        self.drained = true;
    }

    /// A tick of a connection that is not ready. 10 to 20 seconds are enough for three round trips.
    pub(crate) const fn tick_starting(&mut self) -> Result<(), Disconnect> {
        self.starting = self.starting.saturating_add(1);
        if self.starting > STARTING_TICKS { Err(Disconnect::NotReadyInTime) } else { Ok(()) }
    }

    /// A tick of a connection that is ready; says whether to send a ping now.
    pub(crate) fn tick_ready(&mut self) -> Result<bool, Disconnect> {
        let heard = core::mem::take(&mut self.heard);
        let drained = core::mem::take(&mut self.drained);
        self.silent = if heard || drained { 0 } else { self.silent.saturating_add(1) };
        self.since_pong = self.since_pong.saturating_add(1);
        self.pings = 0;
        self.pong_bytes = 0;
        let Some(waited) = &mut self.pinged else {
            let send = !heard || self.since_pong >= PING_EVERY;
            self.pinged = send.then_some(0);
            return Ok(send);
        };
        if drained {
            return Ok(false);
        }
        *waited = waited.saturating_add(1);
        // Messages are answered in order, so a pong may stand behind much else: patience while something comes.
        let limit = if self.silent == 0 { BUSY_PONG_TICKS } else { PONG_TICKS };
        if *waited >= limit { Err(Disconnect::NoPong) } else { Ok(false) }
    }

    /// A pong came. One that we did not ask for is ignored (BOLT 1: "MAY close the connection").
    pub(crate) const fn on_pong(&mut self) {
        if self.pinged.is_some() {
            self.pinged = None;
            self.since_pong = 0;
        }
    }

    /// BOLT 1: "if `num_pong_bytes` is less than 65532: MUST respond by sending a `pong` message, with `byteslen` equal
    /// to `num_pong_bytes`", otherwise "MUST ignore"; and "Limited precautions are recommended against `ping` flooding".
    pub(crate) const fn on_ping(&mut self, num_pong_bytes: u16) -> PingAnswer {
        self.pings = self.pings.saturating_add(1);
        if self.pings > PING_FLOOD {
            return PingAnswer::Flood;
        }
        if num_pong_bytes >= FIRST_WITHOUT_PONG {
            return PingAnswer::Ignore;
        }
        let bytes = self.pong_bytes.saturating_add(num_pong_bytes as u32).saturating_add(4);
        if bytes > PONG_BYTES {
            return PingAnswer::Ignore;
        }
        self.pong_bytes = bytes;
        PingAnswer::Pong
    }
}

/// Ticks that handshake and `init` may take.
const STARTING_TICKS: u8 = 2;
/// Even with traffic, a ping is sent every so many ticks: traffic one way does not prove that the other way works.
const PING_EVERY: u8 = 6;
/// Ticks without any message after which a pong is overdue.
const PONG_TICKS: u8 = 3;
/// Ticks after which a pong is overdue although other messages come.
const BUSY_PONG_TICKS: u8 = 12;
/// BOLT 1: from here on a ping wants no pong.
const FIRST_WITHOUT_PONG: u16 = 65_532;
/// More pings than this between two ticks end the connection.
const PING_FLOOD: u16 = 512;
/// More bytes of pongs than this between two ticks are not sent.
const PONG_BYTES: u32 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_pinged_and_given_up() {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.tick_ready(), Ok(true));
        assert_eq!(liveness.tick_ready(), Ok(false));
        assert_eq!(liveness.tick_ready(), Ok(false));
        assert_eq!(liveness.tick_ready(), Err(Disconnect::NoPong));
    }

    #[test]
    fn a_pong_starts_over() {
        let mut liveness = Liveness::default();
        for _ in 0..100 {
            assert_eq!(liveness.tick_ready(), Ok(true));
            liveness.on_pong();
        }
    }

    #[test]
    fn a_busy_peer_has_more_time_but_not_for_ever() {
        let mut liveness = Liveness::default();
        let mut ticks = 0;
        while {
            liveness.on_message();
            liveness.tick_ready().is_ok()
        } {
            ticks += 1;
        }
        assert_eq!(ticks, u32::from(PING_EVERY) - 1 + u32::from(BUSY_PONG_TICKS));
    }

    #[test]
    fn a_slow_peer_is_not_given_up_while_it_takes_what_it_asked_for() {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.tick_ready(), Ok(true));
        for _ in 0..100 {
            liveness.on_drained();
            assert_eq!(liveness.tick_ready(), Ok(false));
        }
        let left = (0..10).take_while(|_| liveness.tick_ready().is_ok()).count();
        assert_eq!(left, usize::from(PONG_TICKS) - 1, "but once it stops");
    }

    #[test]
    fn the_start_takes_two_ticks_at_most() {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.tick_starting(), Ok(()));
        assert_eq!(liveness.tick_starting(), Ok(()));
        assert_eq!(liveness.tick_starting(), Err(Disconnect::NotReadyInTime));
    }

    #[test]
    fn pings_are_answered_within_bounds() {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.on_ping(65_531), PingAnswer::Pong);
        assert_eq!(liveness.on_ping(65_532), PingAnswer::Ignore);
        assert_eq!(liveness.on_ping(u16::MAX), PingAnswer::Ignore);
        let answered = (0..100).filter(|_| liveness.on_ping(65_531) == PingAnswer::Pong).count();
        assert_eq!(answered, 3, "not more than {PONG_BYTES} bytes");
        assert_eq!(liveness.tick_ready(), Ok(true));
        let outcomes: alloc::vec::Vec<_> = (0..513).map(|_| liveness.on_ping(0)).collect();
        assert!(outcomes.iter().take(512).all(|answer| *answer == PingAnswer::Pong));
        assert_eq!(outcomes.last(), Some(&PingAnswer::Flood));
    }
}
