//! Closing together: `shutdown` (BOLT 2, "Closing Initiation"), then the fee in `negotiate.rs`.
//!
//! # Invariants
//! - after our `shutdown` has left we offer no HTLC, and it leaves only when all our updates are signed for
//! - where funds go never changes: the script of the opening if it bound us, else the first one told
mod negotiate;

use bitcoin::{ScriptBuf, Transaction};
use lightning_traits::feature::Feature;
use lightning_traits::id::ChannelId;
use lightning_traits::interface::KeysInterface;
use lightning_traits::monitor::MonitorStep;
use lightning_traits::wire::Shutdown as ShutdownMessage;
use thiserror::Error;

pub(crate) use negotiate::{Talk, on_closing_signed};

use super::link::Online;
use super::open::Funded;
use super::record::{Entry, Shutdown, Stage};
use super::script::is_shutdown_script;
use super::step::{Step, Stop};
use super::violation::Violation;

/// Why a channel cannot be closed cooperatively on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// It is opening or closed.
    #[error("the channel is not open")]
    NotOpen,
    /// It is closing already.
    #[error("the channel is closing already")]
    AlreadyClosing,
    /// The opening bound us to another script.
    #[error("the opening bound us to another script")]
    BoundToAnother,
    /// BOLT 2 does not allow such a script.
    #[error("the script is of no allowed form")]
    ScriptForm,
}

/// The message.
pub(crate) fn shutdown_message(channel: ChannelId, script: &ScriptBuf) -> ShutdownMessage {
    ShutdownMessage { channel_id: channel, scriptpubkey: script.clone(), unknown: Default::default() }
}

/// Our user wants to close.
pub(crate) fn ask<K: KeysInterface>(
    channel: &mut Funded,
    script: Option<ScriptBuf>,
    step: &mut Step<'_, K>,
) -> Result<(), ShutdownError> {
    match &channel.facts().stage {
        Stage::AwaitingReady {} | Stage::Open {} => {}
        Stage::ShuttingDown { .. } | Stage::Negotiating { .. } => return Err(ShutdownError::AlreadyClosing),
    }
    let ours = our_script(channel, script, step)?;
    channel.record(Entry::ShutdownAsked { ours }, step);
    channel.persist(step);
    Ok(())
}

/// BOLT 2: "if it sent a non-zero-length `shutdown_scriptpubkey` in `open_channel` or `accept_channel`: MUST send the same value".
fn our_script<K: KeysInterface>(
    channel: &Funded,
    wanted: Option<ScriptBuf>,
    step: &Step<'_, K>,
) -> Result<ScriptBuf, ShutdownError> {
    let terms = channel.terms();
    let any_segwit = step.cx.features.supports(Feature::ShutdownAnySegwit);
    match (&terms.our_shutdown, wanted) {
        (Some(bound), Some(wanted)) if *bound != wanted => Err(ShutdownError::BoundToAnother),
        (Some(bound), _) => Ok(bound.clone()),
        (None, Some(wanted)) if is_shutdown_script(&wanted, any_segwit) => Ok(wanted),
        (None, Some(_)) => Err(ShutdownError::ScriptForm),
        (None, None) => Ok(step.cx.keys.shutdown_script(&terms.keys)),
    }
}

/// Their `shutdown`.
pub(crate) fn on_shutdown<K: KeysInterface>(
    channel: &mut Funded,
    message: ShutdownMessage,
    online: &Online,
    step: &mut Step<'_, K>,
) -> Result<(), Stop> {
    let theirs = message.scriptpubkey;
    let any_segwit = step.cx.negotiated(&online.features, Feature::ShutdownAnySegwit);
    if !is_shutdown_script(&theirs, any_segwit) {
        return Err(Violation::ShutdownScript(theirs).into());
    }
    if channel.terms().their_shutdown.as_ref().is_some_and(|bound| *bound != theirs) {
        return Err(Violation::ShutdownNotUpfront.into());
    }
    let known = match &channel.facts().stage {
        Stage::AwaitingReady {} | Stage::Open {} => None,
        Stage::ShuttingDown { shutdown } => shutdown.theirs(),
        Stage::Negotiating { theirs, .. } => Some(theirs),
    };
    match known {
        // Sent again after a reconnection.
        Some(known) if *known == theirs => return Ok(()),
        Some(_) => return Err(Violation::ShutdownChanged.into()),
        None => {}
    }
    let ours = match &channel.facts().stage {
        Stage::ShuttingDown { shutdown } => shutdown.ours().clone(),
        _ => our_script(channel, None, step)
            .unwrap_or_else(|_| step.cx.keys.shutdown_script(&channel.terms().keys)),
    };
    channel.record(Entry::ShutdownReceived { ours, theirs }, step);
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
    negotiate::advance(channel, online, step);
}

/// Transactions that both sides have signed; one of them will confirm.
pub(crate) fn agreed(channel: &Funded) -> &[Transaction] {
    match &channel.facts().stage {
        Stage::Negotiating { agreed, .. } => agreed,
        Stage::AwaitingReady {} | Stage::Open {} | Stage::ShuttingDown { .. } => &[],
    }
}
