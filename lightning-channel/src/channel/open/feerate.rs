//! Which feerates an opener may set, seen over time (BOLT 2, "Updating Fees"; RELIABILITY C5, C8).
//!
//! An honest opener signs for an `update_fee` and then must send it again after every cut, whatever fees are by then. So what
//! was within bounds during the last day still is, and what comes back although it was refused is judged by the harm that it
//! does, not by how odd it looks: else both sides would meet and part for ever. What would break the limit of exposure is never
//! taken: whoever still insists on it after some blocks, in which our estimates could have caught up, loses the channel.
//!
//! # Invariants
//! - a feerate below the relay floor is never taken, nor one that breaks the exposure limit
//! - no `update_fee` above the relay floor is refused for ever: once `INSISTING` blocks have come since its first refusal, it is
//!   taken or ends the channel
//! - while HTLCs are in flight no insisting gets a feerate below the day's bounds: what we must claim in time would not confirm
use lightning_traits::feature::Feature;
use lightning_traits::interface::KeysInterface;
use lightning_traits::units::{BlockHeight, FeeratePerKw};
use lightning_traits::wire::UpdateFee;

use super::Funded;
use crate::channel::context::Context;
use crate::channel::step::Step;
use crate::commitments::{Change, Policy, Violation};

/// Blocks of about a day.
const DAY: u32 = 144;

/// Blocks for which a peer may insist on a feerate that breaks the limit of exposure: its estimates may be ahead of ours, and an
/// hour is enough for ours to follow.
const INSISTING: u32 = 6;

/// Feerates that would have been fine.
#[derive(Clone, Copy, Debug)]
struct Span {
    low: FeeratePerKw,
    high: FeeratePerKw,
    fair: FeeratePerKw,
}

impl Span {
    const fn of(policy: &Policy) -> Self {
        Self { low: policy.min_feerate, high: policy.max_feerate, fair: policy.fair_feerate }
    }

    fn with(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            fair: self.fair.max(other.fair),
        }
    }
}

/// What fees were, and what was refused.
///
/// Dies with the process, and may: what is forgotten can only narrow what we take and make our own feerate stay where it is. An
/// honest opener whose update is refused for that sends it again on the next connection, where it is known as refused and taken;
/// only if it is too low by the fees of now, and HTLCs are in flight, or breaks the limit of exposure for an hour, the channel goes
/// to the chain, as it would if the update were new. Kept durable, it would cost each channel a write for each estimate that changes.
#[derive(Debug, Default)]
pub(super) struct FeeMemory {
    /// Since the height, and of the day before it.
    today: Option<(BlockHeight, Span)>,
    yesterday: Option<Span>,
    refused: Option<Refused>,
}

/// What was refused since the last feerate that was committed.
#[derive(Clone, Copy, Debug)]
struct Refused {
    low: FeeratePerKw,
    high: FeeratePerKw,
    /// The height of the first refusal.
    since: BlockHeight,
}

impl FeeMemory {
    fn note(&mut self, policy: &Policy, tip: BlockHeight) {
        let now = Span::of(policy);
        self.today = match self.today {
            Some((since, span)) if tip < since.plus(DAY) => Some((since, span.with(now))),
            Some((_, span)) => {
                self.yesterday = Some(span);
                Some((tip, now))
            }
            None => Some((tip, now)),
        };
    }

    /// The policy with the bounds of the last day. What counts as fair is held to what we would let an opener set now: one
    /// wild estimate must not lift the limit of exposure for a day (RELIABILITY C5, C13).
    fn widen(&self, policy: Policy) -> Policy {
        let spans = self.today.map(|(_, span)| span).into_iter().chain(self.yesterday);
        let span = spans.fold(Span::of(&policy), Span::with);
        let fair_feerate = span.fair.min(policy.max_feerate).max(policy.fair_feerate);
        Policy { min_feerate: span.low, max_feerate: span.high, fair_feerate, ..policy }
    }

    /// How far the feerate of an opener without anchors may fall: to the highest estimate of the last day, once a day was seen. A
    /// peer refuses what is far below its own estimate, and an estimator that fails says little; that commitments are dear for a
    /// day costs the opener nothing but some room (RELIABILITY C13).
    pub(super) fn fall_to(&self, wanted: FeeratePerKw) -> Option<FeeratePerKw> {
        let before = self.yesterday?;
        let highest = self.today.map_or(before.fair, |(_, today)| today.fair.max(before.fair));
        Some(wanted.max(highest))
    }

    /// The height at which the first of what was refused came, if this feerate was among it.
    fn refused_since(&self, feerate: FeeratePerKw) -> Option<BlockHeight> {
        let refused = self.refused.filter(|refused| refused.low <= feerate && feerate <= refused.high)?;
        Some(refused.since)
    }

    fn refuse(&mut self, feerate: FeeratePerKw, tip: BlockHeight) {
        let before = self.refused.unwrap_or(Refused { low: feerate, high: feerate, since: tip });
        self.refused =
            Some(Refused { low: before.low.min(feerate), high: before.high.max(feerate), ..before });
    }

    /// What was refused is void: the peer has signed for something else.
    pub(super) const fn committed(&mut self) {
        self.refused = None;
    }
}

impl Funded {
    /// Notes what fees are now.
    pub(crate) fn note_fees<K: KeysInterface>(&mut self, step: &Step<'_, K>) {
        let policy = step.policy(&self.terms().channel_type);
        self.fees_seen.note(&policy, step.cx.height);
    }

    /// The feerate that we, as the opener, should set now, if it is off by more than the user tolerates.
    pub(crate) fn wanted_feerate<K: KeysInterface>(&self, cx: &Context<'_, K>) -> Option<FeeratePerKw> {
        let terms = self.terms();
        if !terms.we_opened || !self.is_open() {
            return None;
        }
        let anchors = terms.channel_type.has(Feature::Anchors);
        let (now, mut wanted) = (self.commitments.feerate(), cx.commitment_feerate(&terms.channel_type));
        if wanted < now && !anchors {
            wanted = self.fees_seen.fall_to(wanted)?.min(now);
        }
        let percent = u64::from(cx.config.channel.fee_update_percent);
        let (low, high) = (now.min(wanted).to_sat_per_kw(), now.max(wanted).to_sat_per_kw());
        let off = u64::from(high - low).saturating_mul(100) > u64::from(low).saturating_mul(percent);
        // With anchors a fall of fees costs nothing worth a round of signatures while nothing else moves, unless it is large.
        let falls = wanted < now;
        let large = u64::from(high) > u64::from(low).saturating_mul(2);
        (off && (!anchors || !falls || large)).then_some(wanted)
    }

    /// Judges an `update_fee` of the peer.
    pub(super) fn judge_fee<K: KeysInterface>(
        &mut self,
        message: &UpdateFee,
        step: &Step<'_, K>,
    ) -> Result<Change, Violation> {
        self.note_fees(step);
        let policy = self.fees_seen.widen(step.policy(&self.terms().channel_type));
        let feerate = message.feerate_per_kw;
        let violation = match self.commitments.accept_fee(message, &policy) {
            Err(
                odd @ (Violation::FeerateTooHigh { .. }
                | Violation::FeerateTooLow { .. }
                | Violation::DustExposure { .. }),
            ) => odd,
            judged => return judged,
        };
        let Some(since) = self.fees_seen.refused_since(feerate) else {
            self.fees_seen.refuse(feerate, step.cx.height);
            return Err(violation);
        };
        // BOLT 2: "if the `update_fee` is too low for timely processing ...: MUST send a `warning` and close the connection, or
        // send an `error` and fail the channel". The first did not help, and HTLCs do not wait: our commitment of now, with the
        // feerate of now, is better than what the peer insists on.
        if let Violation::FeerateTooLow { feerate, limit } = violation
            && feerate >= FeeratePerKw::FLOOR
            && self.commitments.carries_htlcs()
        {
            return Err(Violation::FeerateInsisted { feerate, limit });
        }
        // The opener pays, and the exposure limit bounds what that can cost us.
        let max_feerate = FeeratePerKw::new(u32::MAX);
        let lenient = Policy { min_feerate: FeeratePerKw::FLOOR, max_feerate, ..policy };
        match self.commitments.accept_fee(message, &lenient) {
            // BOLT 2: "OR is unreasonably large". The peer has signed for it and cannot take it back: the two of us would meet
            // and part until an HTLC expires, or for ever. What it signed for last, at a feerate that was fine, ends the channel.
            Err(Violation::DustExposure { exposure, limit }) if step.cx.height >= since.plus(INSISTING) => {
                Err(Violation::ExposureInsisted { feerate, exposure, limit })
            }
            judged => judged,
        }
    }
}
