//! Closing transactions of both sides' making (BOLT 2, "Closing Negotiation: `closing_complete` and `closing_sig`").
//!
//! Each side may propose a transaction for which it pays, and sign what the other proposes; whoever asked for the close does,
//! and the other when that one does not. A new proposal replaces the one before, with another fee or another script. What waits
//! for an answer lives with the connection; what both have signed is durable before it is broadcast or answered.
//!
//! # Invariants
//! - we sign away our own output only where it is dust
//! - one proposal of ours at a time waits for its answer
//! - a transaction that both have signed may confirm at any time: all of them are kept, so there is a bound to their number
//!   (RELIABILITY K4)
use bitcoin::{Amount, Script, ScriptBuf};
use lightning_traits::feature::Feature;
use lightning_traits::interface::{ChannelSigner, KeysInterface};
use lightning_traits::tx::{
    ClosingKind, ClosingOutput, ClosingSpec, ClosingTx, SignatureError, signature, weight,
};
use lightning_traits::units::{FeeratePerKw, Msat};
use lightning_traits::wire::{ClosingComplete, ClosingSig};
use secp256k1::ecdsa::Signature;

use super::Scripts;
use crate::channel::link::Online;
use crate::channel::open::Funded;
use crate::channel::record::{Closer, Entry};
use crate::channel::script::{dust_limit, is_op_return_script, is_shutdown_script, least_dust_limit};
use crate::channel::step::{Step, Stop};
use crate::channel::violation::Violation;

/// Closing transactions of the peer's making that we sign, over the channel's life.
const MAX_CLOSES: usize = 64;
/// Proposals that we answer on one connection: each costs us a signature, and the same one may come again.
const MAX_ANSWERS: u32 = 128;

/// What was said on this connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// Our proposal that the peer has not signed.
    sent: Option<(ClosingComplete, FeeratePerKw)>,
    answers: u32,
}

impl Exchange {
    /// Whether the peer owes us a `closing_sig`.
    pub(crate) const fn awaits_answer(&self) -> bool {
        self.sent.is_some()
    }
}

/// Which outputs a closing transaction has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    CloserOnly,
    CloseeOnly,
    Both,
}

const FORMS: [Form; 3] = [Form::CloserOnly, Form::CloseeOnly, Form::Both];

/// A transaction that one side pays for.
#[derive(Clone, Debug)]
struct Proposal {
    closer: (Msat, ScriptBuf),
    closee: (Msat, ScriptBuf),
    fee: Amount,
    locktime: u32,
}

impl Proposal {
    fn build(&self, channel: &Funded, form: Form) -> Result<ClosingTx, Violation> {
        let side = |(balance, script): &(Msat, ScriptBuf), shown: bool| ClosingOutput {
            balance: *balance,
            script: shown.then(|| script.clone()),
        };
        let spec = ClosingSpec {
            kind: ClosingKind::Simple { lock_time: self.locktime },
            payer: side(&self.closer, form != Form::CloseeOnly),
            other: side(&self.closee, form != Form::CloserOnly),
            fee: self.fee,
            // Which outputs there are, the form says.
            dust_limit: Amount::ZERO,
        };
        ClosingTx::build(&channel.terms().funding, &spec).map_err(Violation::ClosingProposal)
    }
}

/// What an output to `script` is worth: nothing where funds are given to the miners (BOLT 3: "MUST set the output amount to 0").
fn amount(balance: Msat, script: &Script) -> Amount {
    if script.is_op_return() { Amount::ZERO } else { balance.to_amount_floor() }
}

/// Proposes, where nothing of ours is signed that says what the user wants.
pub(super) fn advance<K: KeysInterface>(channel: &mut Funded, online: &mut Online, step: &mut Step<'_, K>) {
    let Some(scripts) = Scripts::of(channel) else { return };
    // "If it wants to send another `closing_complete`: MUST wait until it has received `closing_sig` first." And a `shutdown` of
    // this connection may name a new script.
    if online.exchange.awaits_answer() || !online.shutdown_heard {
        return;
    }
    if !is_ours_to_pay(channel, &scripts) {
        return;
    }
    let wish = &channel.facts().closing_wish;
    let script = wish.script.clone().unwrap_or_else(|| scripts.ours.clone());
    if super::is_signed_for(channel, &script, wish.feerate) {
        return;
    }
    let feerate = super::wanted_feerate(channel, step);
    let Some((proposal, forms)) = proposal(channel, &script, &scripts.theirs, feerate, step.cx.height.get())
    else {
        return;
    };
    let Some(message) = signed(channel, &proposal, forms, step) else { return };
    online.exchange.sent = Some((message.clone(), feerate));
    online.waited = 0;
    if script != scripts.ours {
        // The peer pays to it from now on: it is the script of our next `shutdown` too.
        channel.record(Entry::ClosingScripts { ours: script, theirs: scripts.theirs }, step);
        channel.persist(step).send(message);
    } else {
        step.effects.after_all().send(message);
    }
}

/// Whether to propose now. BOLT 2: "SHOULD send a `closing_complete` message", of both; but two that pay alike compete, and who
/// did not ask for the close need not pay for it. So that side waits a little: for the other's, or for its lack.
fn is_ours_to_pay(channel: &Funded, scripts: &Scripts) -> bool {
    if channel.facts().closing_wish.asked {
        return true;
    }
    let cannot_pay =
        channel.commitments().their_balance().to_amount_floor() < FeeratePerKw::FLOOR.fee(scripts.weight());
    !super::is_agreed(channel) && (cannot_pay || channel.closing_ticks > 0)
}

/// What we would pay for: its outputs, and the forms that the peer may choose from. `None` when we have too little for a fee
/// that is relayed: the peer, who has more, proposes.
fn proposal(
    channel: &Funded,
    ours: &Script,
    theirs: &Script,
    feerate: FeeratePerKw,
    height: u32,
) -> Option<(Proposal, &'static [Form])> {
    let (our_balance, their_balance) =
        (channel.commitments().our_balance(), channel.commitments().their_balance());
    let (have, is_lesser) = (our_balance.to_amount_floor(), our_balance < their_balance);
    let weight = weight::closing_tx([ours.len(), theirs.len()]);
    let (wanted, floor) = (feerate.fee(weight), FeeratePerKw::FLOOR.fee(weight));
    let dust = dust_limit(ours);
    // "MUST set `fee_satoshis` so that at least one output is not dust": whoever has more keeps an output of its own.
    let most = if is_lesser { have } else { have.checked_sub(dust)? };
    let fee = if ours.is_op_return() { have } else { wanted.min(most) };
    if fee < floor {
        return None;
    }
    let is_dust = !ours.is_op_return() && have.checked_sub(fee).is_none_or(|left| left < dust);
    let forms: &[Form] = if is_lesser {
        // "MUST set `closee_output_only` if the local output amount is dust."
        if is_dust { &[Form::CloseeOnly] } else { &[Form::Both] }
    } else if amount(their_balance, theirs) < least_dust_limit(theirs) {
        // "MUST set `closer_output_only`. MUST NOT set `closer_and_closee_outputs`."
        &[Form::CloserOnly]
    } else {
        &[Form::CloserOnly, Form::Both]
    };
    let proposal = Proposal {
        closer: (our_balance, ours.into()),
        closee: (their_balance, theirs.into()),
        fee,
        // Not before the next block: nobody gains by mining the last one again.
        locktime: height,
    };
    Some((proposal, forms))
}

fn signed<K: KeysInterface>(
    channel: &Funded,
    proposal: &Proposal,
    forms: &[Form],
    step: &Step<'_, K>,
) -> Option<ClosingComplete> {
    let mut message = ClosingComplete {
        channel_id: channel.terms().channel,
        closer_scriptpubkey: proposal.closer.1.clone(),
        closee_scriptpubkey: proposal.closee.1.clone(),
        fee_satoshis: proposal.fee,
        locktime: proposal.locktime,
        closer_output_only: None,
        closee_output_only: None,
        closer_and_closee_outputs: None,
        unknown: Default::default(),
    };
    for form in forms {
        let closing = proposal.build(channel, *form).ok()?;
        // A signer that needs time is asked again by the next tick.
        let signature = step.signer.sign_closing(&channel.terms().funding, closing.tx()).ok()?;
        match form {
            Form::CloserOnly => message.closer_output_only = Some(signature),
            Form::CloseeOnly => message.closee_output_only = Some(signature),
            Form::Both => message.closer_and_closee_outputs = Some(signature),
        }
    }
    Some(message)
}

/// Their proposal: we sign it, whatever its fee, since they pay.
pub(crate) fn on_complete<K: KeysInterface>(
    channel: &mut Funded,
    message: ClosingComplete,
    online: &mut Online,
    step: &mut Step<'_, K>,
) -> Result<(), Stop> {
    let Some(scripts) = Scripts::of(channel) else {
        return Err(Violation::UpdateNotAllowed(channel.phase()).into());
    };
    check(channel, &message, &scripts, online, step)?;
    let commitments = channel.commitments();
    let proposal = Proposal {
        closer: (commitments.their_balance(), message.closer_scriptpubkey.clone()),
        closee: (commitments.our_balance(), scripts.ours.clone()),
        fee: message.fee_satoshis,
        locktime: message.locktime,
    };
    let Some((form, theirs)) = selected(&message, &proposal) else {
        return Err(Violation::ClosingSignatures.into());
    };
    let closing = proposal.build(channel, form)?;
    let terms = channel.terms();
    signature::verify(step.cx.secp, &closing.sighash(), &theirs, &terms.theirs.keys.funding)
        .map_err(Violation::ClosingSignature)?;
    let Ok(ours) = step.signer.sign_closing(&terms.funding, closing.tx()) else {
        return Err(Stop::hold(message));
    };
    let transaction = closing.signed(&terms.ours.keys.funding, &ours, &theirs);
    if !super::agreed(channel).any(|known| *known == transaction)
        && super::agreed(channel).count() >= MAX_CLOSES
    {
        return Err(Violation::TooManyCloses.into());
    }
    online.exchange.answers = online.exchange.answers.saturating_add(1);
    // "MUST use `closer_scriptpubkey` for its own future `closing_complete` messages."
    if message.closer_scriptpubkey != scripts.theirs {
        let theirs = message.closer_scriptpubkey.clone();
        channel.record(Entry::ClosingScripts { ours: scripts.ours, theirs }, step);
    }
    super::agree(channel, step, transaction, Closer::Them {}, Some(answer(&message, form, ours).into()));
    Ok(())
}

/// Whether their proposal is one that we may sign.
fn check<K: KeysInterface>(
    channel: &Funded,
    message: &ClosingComplete,
    scripts: &Scripts,
    online: &Online,
    step: &Step<'_, K>,
) -> Result<(), Violation> {
    // "If `closee_scriptpubkey` does not match the last script it sent: SHOULD ignore ... SHOULD close the connection."
    if message.closee_scriptpubkey != scripts.ours {
        return Err(Violation::ClosingScripts);
    }
    let closer = &message.closer_scriptpubkey;
    let any_segwit = step.cx.negotiated(&online.features, Feature::ShutdownAnySegwit);
    if !is_shutdown_script(closer, any_segwit) && !is_op_return_script(closer) {
        return Err(Violation::ShutdownScript(closer.clone()));
    }
    // RELIABILITY A15: what the opening bound them to binds them here too.
    if channel.terms().their_shutdown.as_ref().is_some_and(|bound| bound != closer) {
        return Err(Violation::ShutdownNotUpfront);
    }
    let (fee, balance) = (message.fee_satoshis, channel.commitments().their_balance().to_amount_floor());
    // "If `fee_satoshis` is greater than the closer's outstanding balance: MUST ..."
    if fee > balance {
        return Err(Violation::ClosingFee { fee, low: Amount::ZERO, high: balance });
    }
    if online.exchange.answers >= MAX_ANSWERS { Err(Violation::TooManyCloses) } else { Ok(()) }
}

/// "Select a signature for validation".
fn selected(message: &ClosingComplete, proposal: &Proposal) -> Option<(Form, Signature)> {
    let (balance, script) = &proposal.closee;
    let ours = amount(*balance, script);
    let closer_only = message.closer_output_only.map(|signature| (Form::CloserOnly, signature));
    if ours < least_dust_limit(script) {
        // "If the local output amount is dust: MUST use `closer_output_only`."
        return closer_only;
    }
    let both = message.closer_and_closee_outputs.map(|signature| (Form::Both, signature));
    let closee_only = message.closee_output_only.map(|signature| (Form::CloseeOnly, signature));
    // A peer that counts a few satoshis more as dust left them out.
    both.or(closee_only).or(closer_only.filter(|_| ours < dust_limit(script)))
}

/// "MUST send `closing_sig` with a single valid signature in the same TLV field as the `closing_complete`."
fn answer(message: &ClosingComplete, form: Form, signature: Signature) -> ClosingSig {
    let only = |wanted: Form| (form == wanted).then_some(signature);
    ClosingSig {
        channel_id: message.channel_id,
        closer_scriptpubkey: message.closer_scriptpubkey.clone(),
        closee_scriptpubkey: message.closee_scriptpubkey.clone(),
        fee_satoshis: message.fee_satoshis,
        locktime: message.locktime,
        closer_output_only: only(Form::CloserOnly),
        closee_output_only: only(Form::CloseeOnly),
        closer_and_closee_outputs: only(Form::Both),
        unknown: Default::default(),
    }
}

/// They have signed our proposal.
pub(crate) fn on_sig<K: KeysInterface>(
    channel: &mut Funded,
    message: ClosingSig,
    online: &mut Online,
    step: &mut Step<'_, K>,
) -> Result<(), Stop> {
    let Some((sent, feerate)) = &online.exchange.sent else {
        return Err(Violation::ClosingSigUnasked.into());
    };
    let matches = message.closer_scriptpubkey == sent.closer_scriptpubkey
        && message.closee_scriptpubkey == sent.closee_scriptpubkey
        && message.fee_satoshis == sent.fee_satoshis
        && message.locktime == sent.locktime;
    if !matches {
        return Err(Violation::ClosingSigUnasked.into());
    }
    let theirs = [message.closer_output_only, message.closee_output_only, message.closer_and_closee_outputs];
    let ours = [sent.closer_output_only, sent.closee_output_only, sent.closer_and_closee_outputs];
    let mut both = FORMS
        .into_iter()
        .zip(ours)
        .zip(theirs)
        .filter_map(|((form, ours), theirs)| Some((form, ours, theirs?)));
    // "If `tlvs` does not contain exactly one signature: MUST ..."; "one of the TLV fields sent in `closing_complete`: MUST ..."
    let (Some((form, Some(ours), theirs)), None) = (both.next(), both.next()) else {
        return Err(Violation::ClosingSignatures.into());
    };
    let (commitments, script) = (channel.commitments(), sent.closer_scriptpubkey.clone());
    let proposal = Proposal {
        closer: (commitments.our_balance(), script.clone()),
        closee: (commitments.their_balance(), sent.closee_scriptpubkey.clone()),
        fee: sent.fee_satoshis,
        locktime: sent.locktime,
    };
    let closing = proposal.build(channel, form)?;
    let terms = channel.terms();
    signature::verify(step.cx.secp, &closing.sighash(), &theirs, &terms.theirs.keys.funding)
        .map_err(|error: SignatureError| Violation::ClosingSignature(error))?;
    let transaction = closing.signed(&terms.ours.keys.funding, &ours, &theirs);
    let closer = Closer::Us { script, feerate: *feerate };
    online.exchange.sent = None;
    super::agree(channel, step, transaction, closer, None);
    Ok(())
}
