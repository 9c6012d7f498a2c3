//! How an LDK node answers its own events: accepts, funds, claims, bumps and sweeps.
use std::fmt;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, TxOut};
use lightning::events::{Event, PaymentPurpose, ReplayEvent};
use lightning::ln::types::ChannelId;
use lightning::types::payment::PaymentHash;

use super::journal::{Incoming, Will};
use super::start::Parts;

impl Parts {
    /// After each block: sweep what has matured, tell the network who we are.
    pub(super) fn on_blocks(&self) {
        if self.sweeper.regenerate_and_broadcast_spend_if_necessary().is_err() {
            self.journal.note("the sweeper cannot sweep".to_owned());
        }
        if self.manager.list_channels().iter().any(|details| details.is_announced) {
            self.peers.broadcast_node_announcement([0; 3], [0; 32], Vec::new());
        }
    }

    /// LDK's events, most of which only need to be known.
    pub(super) fn on_event(&self, event: Event) -> Result<(), ReplayEvent> {
        self.journal.note(format!("{event:?}").chars().take(400).collect());
        match event {
            Event::OpenChannelRequest { temporary_channel_id, counterparty_node_id, .. } => {
                let accepted = self.manager.accept_inbound_channel(
                    &temporary_channel_id,
                    &counterparty_node_id,
                    0,
                    None,
                );
                self.note_failure("accept a channel", accepted);
            }
            Event::FundingGenerationReady {
                temporary_channel_id,
                counterparty_node_id,
                channel_value_satoshis,
                output_script,
                ..
            } => {
                let output =
                    TxOut { value: Amount::from_sat(channel_value_satoshis), script_pubkey: output_script };
                self.fund(temporary_channel_id, counterparty_node_id, &output);
            }
            Event::PaymentClaimable { payment_hash, amount_msat, purpose, .. } => {
                self.on_claimable(payment_hash, amount_msat, &purpose);
            }
            Event::PaymentClaimed { payment_hash, amount_msat, .. } => {
                self.journal.received(payment_hash, Incoming::Claimed { amount_msat });
            }
            Event::PaymentSent { payment_hash, payment_preimage, fee_paid_msat, .. } => {
                self.journal.paid(payment_hash, payment_preimage, fee_paid_msat);
            }
            Event::PaymentFailed { payment_id, payment_hash, reason } => {
                self.journal.gave_up(payment_hash.unwrap_or(PaymentHash(payment_id.0)), reason);
            }
            Event::PaymentForwarded { .. } => self.journal.forwarded(),
            Event::ChannelClosed { channel_id, reason, .. } => {
                self.journal.channel_closed(channel_id, reason);
            }
            Event::SpendableOutputs { outputs, channel_id } => {
                let count = outputs.len();
                self.sweeper
                    .track_spendable_outputs(outputs, channel_id, false, None)
                    .map_err(|()| ReplayEvent())?;
                self.journal.sweeping(count);
                let _swept = self.sweeper.regenerate_and_broadcast_spend_if_necessary();
            }
            Event::BumpTransaction(bump) => self.bumper.handle_event(&bump),
            _ => {}
        }
        Ok(())
    }

    fn on_claimable(&self, hash: PaymentHash, amount_msat: u64, purpose: &PaymentPurpose) {
        let Some(preimage) = purpose.preimage() else {
            self.journal.note(format!("no preimage for {hash}"));
            return self.manager.fail_htlc_backwards(&hash);
        };
        self.journal.received(hash, Incoming::Claimable { amount_msat, preimage });
        match self.journal.will(&hash) {
            Will::Take => self.manager.claim_funds(preimage),
            Will::Hold => {}
            Will::Refuse => self.manager.fail_htlc_backwards(&hash),
        }
    }

    fn fund(&self, channel: ChannelId, peer: PublicKey, output: &TxOut) {
        let funded = self.purse.wallet.fund(output).map_err(|error| error.to_string()).and_then(|tx| {
            let given = self.manager.funding_transaction_generated(channel, peer, tx);
            given.map_err(|error| format!("{error:?}"))
        });
        self.note_failure("fund a channel", funded);
    }

    fn note_failure<T, E: fmt::Debug>(&self, what: &str, outcome: Result<T, E>) {
        if let Err(error) = outcome {
            self.journal.trouble(format!("cannot {what}: {error:?}"));
        }
    }
}
