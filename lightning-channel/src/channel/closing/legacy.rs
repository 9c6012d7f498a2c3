//! Agreeing on the fee of the closing transaction (BOLT 2, "Legacy Closing Negotiation: `closing_signed`").
//!
//! The opener pays, so the opener speaks first and says its range; the accepter takes any fee that is not absurdly low.
//! What is said lives with the connection ("negotiation restarts on reconnection"); what is agreed on is durable
//! before it is broadcast.
//!
//! # Invariants
//! - nothing is signed that has an output which would not be relayed
//! - a transaction that both have signed may confirm at any time: all of them are kept
use bitcoin::{Amount, Transaction};
use lightning_traits::interface::{ChannelSigner, KeysInterface};
use lightning_traits::tx::{ClosingKind, ClosingOutput, ClosingSpec, ClosingTx, SignatureError, signature};
use lightning_traits::units::FeeratePerKw;
use lightning_traits::wire::{ClosingSigned, FeeRange};
use secp256k1::ecdsa::Signature;

use super::{Scripts, wanted_feerate};
use crate::channel::link::Online;
use crate::channel::open::Funded;
use crate::channel::record::Closer;
use crate::channel::script::dust_limit;
use crate::channel::step::{Step, Stop};
use crate::channel::violation::Violation;

/// What was said on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Talk {
    /// Nothing by us.
    Silent,
    /// We proposed this fee, within this range.
    Proposed { fee: Amount, range: FeeRange },
    /// Both have signed.
    Agreed,
}

/// As the opener, speaks first.
pub(super) fn advance<K: KeysInterface>(channel: &mut Funded, online: &mut Online, step: &mut Step<'_, K>) {
    let Some(scripts) = Scripts::of(channel) else { return };
    if channel.terms().we_opened && online.talk == Talk::Silent {
        let range = our_range(channel, &scripts, step);
        let fee = proposal(channel, &scripts, step);
        propose(channel, online, step, &scripts, fee, range);
    }
}

/// Their proposal, or their answer to ours.
pub(crate) fn on_closing_signed<K: KeysInterface>(
    channel: &mut Funded,
    message: ClosingSigned,
    online: &mut Online,
    step: &mut Step<'_, K>,
) -> Result<(), Stop> {
    let Some(scripts) = Scripts::of(channel) else {
        return Err(Violation::UpdateNotAllowed(channel.phase()).into());
    };
    let fee = message.fee_satoshis;
    // Verified before anything follows from it: "MUST send a `warning` and close the connection, or send an `error`".
    let variant = verified(channel, &scripts, &message, step)?;
    match judge(channel, &scripts, &message, online.talk, step)? {
        Verdict::Agree { answer } => agree(channel, online, step, variant, &message, answer).map_err(|()| {
            // The signer is not done: the message is held and judged again.
            Stop::hold(message)
        }),
        Verdict::Counter { fee, range } => {
            propose(channel, online, step, &scripts, fee, range);
            Ok(())
        }
        Verdict::NoOverlap { low, high } => Err(Violation::ClosingFee { fee, low, high }.into()),
        Verdict::Moved => Err(Violation::ClosingFeeMoved(fee).into()),
    }
}

/// What follows from their proposal.
enum Verdict {
    /// We take their fee; `answer` when they must hear it from us.
    Agree { answer: bool },
    /// We propose another.
    Counter { fee: Amount, range: FeeRange },
    /// The ranges do not meet.
    NoOverlap { low: Amount, high: Amount },
    /// The fee left what both had said.
    Moved,
}

fn judge<K: KeysInterface>(
    channel: &Funded,
    scripts: &Scripts,
    message: &ClosingSigned,
    talk: Talk,
    step: &Step<'_, K>,
) -> Result<Verdict, Violation> {
    let fee = message.fee_satoshis;
    match talk {
        // "if `fee_satoshis` is equal to its previously sent `fee_satoshis`: SHOULD sign and broadcast".
        Talk::Proposed { fee: sent, .. } if sent == fee => return Ok(Verdict::Agree { answer: false }),
        // Their last word crossed ours; it is broadcast already.
        Talk::Agreed => return Ok(Verdict::Agree { answer: false }),
        Talk::Proposed { .. } | Talk::Silent => {}
    }
    let range = match talk {
        Talk::Proposed { range, .. } => range,
        Talk::Silent | Talk::Agreed => our_range(channel, scripts, step),
    };
    let we_pay = channel.terms().we_opened;
    let (low, high) = match message.fee_range {
        // "if it is not the funder: SHOULD set `max_fee_satoshis` to at least the `max_fee_satoshis` received".
        Some(theirs) if we_pay => (
            range.min_fee_satoshis.max(theirs.min_fee_satoshis),
            range.max_fee_satoshis.min(theirs.max_fee_satoshis),
        ),
        Some(theirs) => (range.min_fee_satoshis.max(theirs.min_fee_satoshis), theirs.max_fee_satoshis),
        None => (range.min_fee_satoshis, range.max_fee_satoshis),
    };
    if low > high {
        return Ok(Verdict::NoOverlap { low: range.min_fee_satoshis, high: range.max_fee_satoshis });
    }
    Ok(match (message.fee_range, talk) {
        // "if it is the funder: if `fee_satoshis` is not in the overlap ...: MUST fail the channel; otherwise: MUST reply with
        // the same `fee_satoshis`".
        _ if fee >= low && fee <= high => Verdict::Agree { answer: true },
        (Some(_), Talk::Proposed { .. }) => Verdict::Moved,
        // "MUST propose a `fee_satoshis` in the overlap between received and (about-to-be) sent `fee_range`".
        (Some(_), _) => Verdict::Counter { fee: fee.clamp(low, high), range },
        (None, Talk::Silent | Talk::Agreed) => Verdict::Counter { fee: fee.clamp(low, high), range },
        (None, Talk::Proposed { fee: sent, .. }) => between(sent, fee, range),
    })
}

/// "MUST propose a value 'strictly between' the received `fee_satoshis` and its previously-sent `fee_satoshis`."
fn between(sent: Amount, received: Amount, range: FeeRange) -> Verdict {
    let middle = Amount::from_sat(sent.to_sat().midpoint(received.to_sat()));
    let fee = middle.clamp(range.min_fee_satoshis, range.max_fee_satoshis);
    if fee == sent || fee == received {
        Verdict::NoOverlap { low: range.min_fee_satoshis, high: range.max_fee_satoshis }
    } else {
        Verdict::Counter { fee, range }
    }
}

/// What we would pay, or let be paid.
fn our_range<K: KeysInterface>(channel: &Funded, scripts: &Scripts, step: &Step<'_, K>) -> FeeRange {
    let weight = scripts.weight();
    let floor = FeeratePerKw::FLOOR.fee(weight);
    let payer_balance = if channel.terms().we_opened {
        channel.commitments().our_balance()
    } else {
        channel.commitments().their_balance()
    };
    let affordable = payer_balance.to_amount_floor();
    if !channel.terms().we_opened {
        // "SHOULD set `min_fee_satoshis` to a fairly low value": we do not pay, it need only be relayed.
        return FeeRange { min_fee_satoshis: floor.min(affordable), max_fee_satoshis: affordable };
    }
    let fair = wanted_feerate(channel, step).fee(weight).to_sat();
    let (low, high) = step.cx.config.channel.closing_fee_percent;
    let share = |percent: u32| Amount::from_sat(fair.saturating_mul(u64::from(percent)) / 100);
    let max = share(high.max(100)).max(floor).min(affordable);
    FeeRange { min_fee_satoshis: share(low.min(100)).max(floor).min(max), max_fee_satoshis: max }
}

/// The fee that we open with.
fn proposal<K: KeysInterface>(channel: &Funded, scripts: &Scripts, step: &Step<'_, K>) -> Amount {
    let range = our_range(channel, scripts, step);
    let fee = wanted_feerate(channel, step).fee(scripts.weight());
    fee.clamp(range.min_fee_satoshis, range.max_fee_satoshis)
}

/// Signs and sends a proposal. Waits for the write that told the monitor to expect a cooperative close.
fn propose<K: KeysInterface>(
    channel: &Funded,
    online: &mut Online,
    step: &mut Step<'_, K>,
    scripts: &Scripts,
    fee: Amount,
    range: FeeRange,
) {
    let ours = Variant { fee, dust: channel.terms().ours.dust_limit, drop: Drop::Nothing };
    let Ok(closing) = ours.build(channel, scripts) else { return };
    // A signer that needs time is asked again by the next tick.
    let Ok(signature) = step.signer.sign_closing(&channel.terms().funding, closing.tx()) else { return };
    let message = ClosingSigned {
        channel_id: channel.terms().channel,
        fee_satoshis: fee,
        signature,
        fee_range: Some(range),
        unknown: Default::default(),
    };
    online.talk = Talk::Proposed { fee, range };
    step.effects.after_all().send(message);
}

/// Takes their fee: the transaction is durable, then it is broadcast.
fn agree<K: KeysInterface>(
    channel: &mut Funded,
    online: &mut Online,
    step: &mut Step<'_, K>,
    closing: ClosingTx,
    message: &ClosingSigned,
    answer: bool,
) -> Result<(), ()> {
    let terms = channel.terms();
    let (id, fee) = (terms.channel, message.fee_satoshis);
    let ours = step.signer.sign_closing(&terms.funding, closing.tx()).map_err(|_| ())?;
    let transaction = closing.signed(&terms.ours.keys.funding, &ours, &message.signature);
    let range = FeeRange { min_fee_satoshis: fee, max_fee_satoshis: fee };
    let range = match online.talk {
        Talk::Proposed { range, .. } => range,
        Talk::Silent | Talk::Agreed => message.fee_range.unwrap_or(range),
    };
    let reply = answer.then(|| closing_signed(id, fee, ours, range).into());
    online.talk = Talk::Agreed;
    super::agree(channel, step, transaction, Closer::Legacy {}, reply);
    Ok(())
}

fn closing_signed(
    channel_id: lightning_traits::id::ChannelId,
    fee_satoshis: Amount,
    signature: Signature,
    fee_range: FeeRange,
) -> ClosingSigned {
    ClosingSigned {
        channel_id,
        fee_satoshis,
        signature,
        fee_range: Some(fee_range),
        unknown: Default::default(),
    }
}

/// Whose output the signer gave up ("MAY eliminate its own output").
#[derive(Clone, Copy)]
enum Drop {
    Nothing,
    Theirs,
}

/// One form of the closing transaction.
struct Variant {
    fee: Amount,
    dust: Amount,
    drop: Drop,
}

impl Variant {
    fn build(&self, channel: &Funded, scripts: &Scripts) -> Result<ClosingTx, Violation> {
        let (commitments, terms) = (channel.commitments(), channel.terms());
        let ours = ClosingOutput { balance: commitments.our_balance(), script: Some(scripts.ours.clone()) };
        let their_script = match self.drop {
            Drop::Nothing => Some(scripts.theirs.clone()),
            Drop::Theirs => None,
        };
        let theirs = ClosingOutput { balance: commitments.their_balance(), script: their_script };
        let (payer, other) = if terms.we_opened { (ours, theirs) } else { (theirs, ours) };
        let spec =
            ClosingSpec { kind: ClosingKind::Legacy, payer, other, fee: self.fee, dust_limit: self.dust };
        ClosingTx::build(&terms.funding, &spec).map_err(Violation::ClosingTransaction)
    }
}

/// The form of the closing transaction that their signature is for.
fn verified<K: KeysInterface>(
    channel: &Funded,
    scripts: &Scripts,
    message: &ClosingSigned,
    step: &Step<'_, K>,
) -> Result<ClosingTx, Violation> {
    let (terms, fee) = (channel.terms(), message.fee_satoshis);
    let (ours, theirs) = (terms.ours.dust_limit, terms.theirs.dust_limit);
    // "MUST remove any output below its own `dust_limit_satoshis`": theirs, as they signed; ours, should they follow us.
    let forms =
        [(theirs, Drop::Nothing), (theirs, Drop::Theirs), (ours, Drop::Nothing), (ours, Drop::Theirs)];
    let mut failure = Violation::ClosingSignature(SignatureError::Invalid);
    for (dust, drop) in forms {
        let closing = match (Variant { fee, dust, drop }).build(channel, scripts) {
            Ok(closing) => closing,
            Err(error) => {
                failure = error;
                continue;
            }
        };
        match signature::verify(
            step.cx.secp,
            &closing.sighash(),
            &message.signature,
            &terms.theirs.keys.funding,
        ) {
            Ok(()) if has_dust(closing.tx()) => return Err(Violation::ClosingDust),
            Ok(()) => return Ok(closing),
            Err(error) => failure = Violation::ClosingSignature(error),
        }
    }
    Err(failure)
}

/// "if one of the outputs in the closing transaction is below the dust limit for its `scriptpubkey`: MUST fail the channel".
fn has_dust(transaction: &Transaction) -> bool {
    transaction.output.iter().any(|output| output.value < dust_limit(&output.script_pubkey))
}
