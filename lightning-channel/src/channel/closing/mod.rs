//! Closing together: `shutdown` (BOLT 2, "Closing Initiation"), then a closing transaction of each side's making in
//! `simple.rs`, or with peers that do not know that, one fee for both in `legacy.rs`.
//!
//! # Invariants
//! - after our `shutdown` has left we offer no HTLC, and it leaves only when all our updates are signed for
//! - where funds go changes only where both know how (`option_simple_close`), and never where the opening bound a side
mod legacy;
mod simple;

use bitcoin::{ScriptBuf, Transaction};
use lightning_traits::event::{CloseReason, Event};
use lightning_traits::feature::Feature;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::KeysInterface;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::tx::weight;
use lightning_traits::units::FeeratePerKw;
use lightning_traits::wire::{Message, Shutdown as ShutdownMessage};
use thiserror::Error;

pub(crate) use legacy::{Talk, on_closing_signed};
pub(crate) use simple::{Exchange, on_complete, on_sig};

use super::link::Online;
use super::open::Funded;
use super::record::{Closer, Entry, Shutdown, Stage};
use super::script::{is_op_return_script, is_shutdown_script};
use super::step::{Step, Stop};
use super::violation::Violation;

/// How to close together with the peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseParams {
    /// Where our funds go, unless the opening bound us; else where the keys say.
    pub script: Option<ScriptBuf>,
    /// The feerate of the closing transaction that we pay for; else the estimate of the moment.
    pub feerate: Option<FeeratePerKw>,
}

/// Why a channel cannot be closed cooperatively on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// It is opening or closed.
    #[error("the channel is not open")]
    NotOpen,
    /// It is closing already, and with this peer nothing can be changed about that now; or nothing would change.
    #[error("the channel is closing already")]
    AlreadyClosing,
    /// The opening bound us to another script.
    #[error("the opening bound us to another script")]
    BoundToAnother,
    /// BOLT 2 does not allow such a script.
    #[error("the script is of no allowed form")]
    ScriptForm,
    /// Nobody relays a transaction with this feerate.
    #[error("the feerate is below what is relayed")]
    FeerateTooLow,
}

/// The message.
pub(crate) fn shutdown_message(channel: ChannelId, script: &ScriptBuf) -> ShutdownMessage {
    ShutdownMessage { channel_id: channel, scriptpubkey: script.clone(), unknown: Default::default() }
}

/// What the user asked for, or the estimate.
fn wanted_feerate<K: KeysInterface>(channel: &Funded, step: &Step<'_, K>) -> FeeratePerKw {
    channel.facts().closing_wish.feerate.unwrap_or(step.cx.fees.normal)
}

/// Whether each side makes a closing transaction of its own on this connection.
fn is_simple<K: KeysInterface>(online: &Online, step: &Step<'_, K>) -> bool {
    step.cx.negotiated(&online.features, Feature::SimpleClose)
}

/// Where each side is paid, while a closing transaction is negotiated.
#[derive(Clone, Debug)]
struct Scripts {
    ours: ScriptBuf,
    theirs: ScriptBuf,
}

impl Scripts {
    fn of(channel: &Funded) -> Option<Self> {
        match &channel.facts().stage {
            Stage::Negotiating { ours, theirs, .. } => {
                Some(Self { ours: ours.clone(), theirs: theirs.clone() })
            }
            Stage::AwaitingReady {} | Stage::Open {} | Stage::ShuttingDown { .. } => None,
        }
    }

    fn weight(&self) -> u64 {
        weight::closing_tx([self.ours.len(), self.theirs.len()])
    }
}

/// Our user wants to close; or, once that is under way, to be paid elsewhere or to pay more.
pub(crate) fn ask<K: KeysInterface>(
    channel: &mut Funded,
    params: CloseParams,
    online: Option<&mut Online>,
    step: &mut Step<'_, K>,
) -> Result<(), ShutdownError> {
    if params.feerate.is_some_and(|feerate| feerate < FeeratePerKw::FLOOR) {
        return Err(ShutdownError::FeerateTooLow);
    }
    let simple = online.is_some_and(|online| is_simple(online, step));
    let CloseParams { script, feerate } = params;
    let under_way = match &channel.facts().stage {
        Stage::AwaitingReady {} | Stage::Open {} => None,
        Stage::ShuttingDown { shutdown } => Some(shutdown.ours().clone()),
        Stage::Negotiating { ours, .. } => Some(ours.clone()),
    };
    let Some(told) = under_way else {
        let ours = our_script(channel, script, simple, step)?;
        if feerate.is_some() {
            channel.record(Entry::ClosingWished { script: None, feerate }, step);
        }
        channel.record(Entry::ShutdownAsked { ours }, step);
        channel.persist(step);
        return Ok(());
    };
    let before = channel.facts().closing_wish.clone();
    let script = match script {
        Some(script) => Some(our_script(channel, Some(script), simple, step)?),
        None => before.script.clone(),
    };
    let feerate = feerate.or(before.feerate);
    let is_new = script != before.script || feerate != before.feerate;
    let done = is_signed_for(channel, script.as_ref().unwrap_or(&told), feerate);
    if !simple || !is_new || done {
        return Err(ShutdownError::AlreadyClosing);
    }
    channel.record(Entry::ClosingWished { script, feerate }, step);
    channel.persist(step);
    Ok(())
}

/// Whether both have signed a transaction of ours that pays to `script` and has at least this feerate.
fn is_signed_for(channel: &Funded, script: &ScriptBuf, feerate: Option<FeeratePerKw>) -> bool {
    let Stage::Negotiating { agreed, .. } = &channel.facts().stage else { return false };
    agreed.iter().any(|known| match &known.closer {
        Closer::Us { script: paid, feerate: rate } => {
            paid == script && feerate.is_none_or(|wanted| *rate >= wanted)
        }
        Closer::Them {} | Closer::Legacy {} => false,
    })
}

/// BOLT 2: "if it sent a non-zero-length `shutdown_scriptpubkey` in `open_channel` or `accept_channel`: MUST send the same value".
fn our_script<K: KeysInterface>(
    channel: &Funded,
    wanted: Option<ScriptBuf>,
    simple: bool,
    step: &Step<'_, K>,
) -> Result<ScriptBuf, ShutdownError> {
    let terms = channel.terms();
    let any_segwit = step.cx.features.supports(Feature::ShutdownAnySegwit);
    match (&terms.our_shutdown, wanted) {
        (Some(bound), Some(wanted)) if *bound != wanted => Err(ShutdownError::BoundToAnother),
        (Some(bound), _) => Ok(bound.clone()),
        (None, Some(wanted)) if is_shutdown_script(&wanted, any_segwit) => Ok(wanted),
        // "if (and only if) `option_simple_close` is negotiated".
        (None, Some(wanted)) if simple && is_op_return_script(&wanted) => Ok(wanted),
        (None, Some(_)) => Err(ShutdownError::ScriptForm),
        (None, None) => Ok(step.cx.keys.shutdown_script(&terms.keys)),
    }
}

/// Their `shutdown`.
pub(crate) fn on_shutdown<K: KeysInterface>(
    channel: &mut Funded,
    message: ShutdownMessage,
    online: &mut Online,
    step: &mut Step<'_, K>,
) -> Result<(), Stop> {
    let theirs = message.scriptpubkey;
    let any_segwit = step.cx.negotiated(&online.features, Feature::ShutdownAnySegwit);
    let simple = is_simple(online, step);
    let allowed = is_shutdown_script(&theirs, any_segwit) || simple && is_op_return_script(&theirs);
    if !allowed {
        return Err(Violation::ShutdownScript(theirs).into());
    }
    if channel.terms().their_shutdown.as_ref().is_some_and(|bound| *bound != theirs) {
        return Err(Violation::ShutdownNotUpfront.into());
    }
    let is_first = !core::mem::replace(&mut online.shutdown_heard, true);
    let known = match &channel.facts().stage {
        Stage::AwaitingReady {} | Stage::Open {} => None,
        Stage::ShuttingDown { shutdown } => shutdown.theirs(),
        Stage::Negotiating { theirs, .. } => Some(theirs),
    };
    match known {
        // Sent again after a reconnection.
        Some(known) if *known == theirs => return Ok(()),
        // "we simply reconnect, which provides the opportunity for both nodes to send their latest output script in `shutdown`".
        Some(_) if is_first && simple => {}
        Some(_) => return Err(Violation::ShutdownChanged.into()),
        None => {}
    }
    let entry = match &channel.facts().stage {
        Stage::Negotiating { ours, .. } => Entry::ClosingScripts { ours: ours.clone(), theirs },
        Stage::ShuttingDown { shutdown } => Entry::ShutdownReceived { ours: shutdown.ours().clone(), theirs },
        Stage::AwaitingReady {} | Stage::Open {} => {
            let ours = our_script(channel, None, simple, step)
                .unwrap_or_else(|_| step.cx.keys.shutdown_script(&channel.terms().keys));
            Entry::ShutdownReceived { ours, theirs }
        }
    };
    channel.record(entry, step);
    Ok(())
}

/// Sends what has become due: our `shutdown`, then the first proposal of a fee.
pub(crate) fn advance<K: KeysInterface>(channel: &mut Funded, online: &mut Online, step: &mut Step<'_, K>) {
    let unsent = match &channel.facts().stage {
        Stage::ShuttingDown { shutdown } if !shutdown.is_sent() => Some(shutdown.ours().clone()),
        _ => None,
    };
    if let Some(ours) = unsent {
        // BOLT 2: "if there are updates pending on the receiving node's commitment transaction: MUST NOT send a `shutdown`".
        // The note is enough where we cannot sign now: their revocation lets us.
        let _waits = channel.commit(step);
        if !channel.commitments().has_unsigned() {
            channel.record(Entry::ShutdownSent {}, step);
            let message = shutdown_message(channel.terms().channel, &ours);
            channel.persist(step).send(message);
        }
    }
    let both = matches!(&channel.facts().stage, Stage::ShuttingDown { shutdown: Shutdown::Both { .. } });
    if both && channel.commitments().is_drained() {
        channel.record(Entry::NegotiationStarted {}, step);
        step.journal.step(MonitorStep::ShutdownStarted {});
        channel.persist(step);
    }
    if is_simple(online, step) {
        simple::advance(channel, online, step);
    } else {
        legacy::advance(channel, online, step);
    }
}

/// Both have signed: the transaction is durable, then it is broadcast, and the peer hears of it.
fn agree<K: KeysInterface>(
    channel: &mut Funded,
    step: &mut Step<'_, K>,
    transaction: Transaction,
    closer: Closer,
    reply: Option<Message>,
) {
    if agreed(channel).any(|known| *known == transaction) {
        if let Some(reply) = reply {
            step.effects.after_all().send(reply);
        }
        return;
    }
    let (id, peer, is_first) = (channel.terms().channel, channel.terms().peer, !is_agreed(channel));
    channel.record(Entry::ClosingAgreed { transaction: transaction.clone(), closer }, step);
    let mut gated = channel.persist(step);
    if let Some(reply) = reply {
        gated.send(reply);
    }
    gated.broadcast(alloc::vec![transaction]);
    if is_first {
        gated.event(Event::ChannelClosed { channel: id, peer, reason: CloseReason::Cooperative });
    }
}

/// Transactions that both sides have signed; one of them will confirm.
pub(crate) fn agreed(channel: &Funded) -> impl Iterator<Item = &Transaction> {
    let agreed: &[_] = match &channel.facts().stage {
        Stage::Negotiating { agreed, .. } => agreed,
        Stage::AwaitingReady {} | Stage::Open {} | Stage::ShuttingDown { .. } => &[],
    };
    agreed.iter().map(|known| &known.transaction)
}

/// Whether there is such a transaction.
pub(crate) fn is_agreed(channel: &Funded) -> bool {
    agreed(channel).next().is_some()
}
