//! Making and signing the transaction that claims one output.
//!
//! What stands on its own pays its fee out of the output and goes to the user's script. A second-stage
//! transaction pays what both signed: with a fee in it, or, with anchors, none: then [`FeeInputs`] bring it.
use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, EcdsaSighashType, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use lightning_traits::Secp;
use lightning_traits::interface::{ChannelSigner, Coins, InputToSign, SignError, SigningKey};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::weight::{INPUT_BYTES, OUTPUT_BYTES, SEGWIT_BYTES, TRANSACTION_BYTES};
use lightning_traits::tx::{SecondStage, Spend, witness};
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use super::{Authority, Output};
use crate::detect::Built;
use crate::monitor::ChannelMonitor;

/// Length of the longest script that a wallet has its change paid to: P2WSH or P2TR.
const LONGEST_CHANGE: usize = 34;

/// Coins of the user that pay the fee of a second-stage transaction, and the rate they pay.
#[derive(Clone, Debug)]
pub(crate) struct FeeInputs {
    pub(crate) coins: Coins,
    pub(crate) feerate: FeeratePerKw,
}

/// How an output can be claimed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// By this transaction.
    Ready(Transaction),
    /// By a transaction that needs coins of the user, worth this much in fees besides what their own inputs cost.
    NeedsCoins(Amount),
    /// Not at this feerate: the fee would eat it.
    Uneconomic,
}

/// Why a claim cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildError {
    /// The signer has not signed.
    Signer(SignError),
    /// The output does not fit the commitment it is said to be of.
    Inconsistent,
}

impl From<SignError> for BuildError {
    fn from(error: SignError) -> Self {
        Self::Signer(error)
    }
}

impl ChannelMonitor {
    /// Whether a claim of the output can be in the next block after `tip`, as far as we know.
    pub(crate) fn is_claimable(&self, output: &Output, tip: BlockHeight) -> bool {
        let delay = match output.spend {
            Spend::Delayed => u32::from(self.init.ours.to_self_delay.get()),
            Spend::CountersignerBalance | Spend::OfferedWithPreimage | Spend::ReceivedAfterExpiry
                if self.init.format.rules().one_block_csv =>
            {
                1
            }
            _ => 0,
        };
        let expiry = match (output.spend, &output.htlc) {
            // A locktime is passed in blocks *above* it (consensus), so at the tip that equals it.
            (Spend::HtlcTimeout | Spend::ReceivedAfterExpiry, Some(htlc)) => htlc.expiry.get(),
            _ => 0,
        };
        let has_preimage = !output.needs_preimage() || self.preimage_of(output).is_some();
        tip.plus(1) >= output.created.plus(delay) && tip.get() >= expiry && has_preimage
    }

    pub(crate) fn preimage_of(&self, output: &Output) -> Option<&Preimage> {
        self.preimages.get(&output.htlc?.payment_hash)
    }

    /// The claim of an output that can be claimed now. `ours` is our commitment, for second stages.
    pub(crate) fn build_claim(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        output: &Output,
        ours: Option<&Built>,
        feerate: FeeratePerKw,
    ) -> Result<Claim, BuildError> {
        if output.is_second_stage() {
            if self.init.format.rules().zero_fee_htlc {
                let needed = feerate.fee(self.second_stage_weight(output, LONGEST_CHANGE));
                // Coins spent to claim less than they cost would be burnt (RELIABILITY D8).
                let worth = needed < output.value;
                return Ok(if worth { Claim::NeedsCoins(needed) } else { Claim::Uneconomic });
            }
            return self.build_second_stage(signer, output, ours, None).map(Claim::Ready);
        }
        self.build_sweep(secp, signer, output, feerate)
    }

    /// The weight of a second-stage transaction with a change output of this script length, without the coins' inputs.
    fn second_stage_weight(&self, output: &Output, change: usize) -> u64 {
        let outputs = (OUTPUT_BYTES + 34) + OUTPUT_BYTES.saturating_add(change as u64);
        let fixed =
            (TRANSACTION_BYTES.saturating_add(outputs)).saturating_mul(4).saturating_add(SEGWIT_BYTES);
        fixed.saturating_add(output.spend.input_weight(self.init.format))
    }

    /// The weight of a transaction that spends the output to the user.
    fn sweep_weight(&self, output: &Output) -> u64 {
        let bytes = TRANSACTION_BYTES + OUTPUT_BYTES + INPUT_BYTES;
        bytes
            .saturating_add(self.init.destination.len() as u64)
            .saturating_mul(4)
            .saturating_add(SEGWIT_BYTES)
            .saturating_add(output.spend.witness_weight(self.init.format))
    }

    /// What is left of the output at this feerate for the user, if that is worth an output.
    fn swept_value(&self, output: &Output, feerate: FeeratePerKw) -> Option<Amount> {
        let value = output.value.checked_sub(feerate.fee(self.sweep_weight(output)))?;
        (value >= self.init.destination.minimal_non_dust()).then_some(value)
    }

    /// Whether the output can never pay for its claim, at whatever feerate.
    pub(crate) fn is_dust(&self, output: &Output) -> bool {
        if !output.is_second_stage() {
            return self.swept_value(output, FeeratePerKw::FLOOR).is_none();
        }
        let fee = FeeratePerKw::FLOOR.fee(self.second_stage_weight(output, LONGEST_CHANGE));
        self.init.format.rules().zero_fee_htlc && fee >= output.value
    }

    /// One input, one output to the user.
    fn build_sweep(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        output: &Output,
        feerate: FeeratePerKw,
    ) -> Result<Claim, BuildError> {
        let destination = &self.init.destination;
        let format = self.init.format;
        let Some(value) = self.swept_value(output, feerate) else { return Ok(Claim::Uneconomic) };
        let lock_time = match (output.spend, &output.htlc) {
            (Spend::ReceivedAfterExpiry, Some(htlc)) => LockTime::from_consensus(htlc.expiry.get()),
            _ => LockTime::ZERO,
        };
        let mut transaction = Transaction {
            version: Version::TWO,
            lock_time,
            input: alloc::vec![TxIn {
                previous_output: output.outpoint,
                script_sig: ScriptBuf::new(),
                sequence: output.spend.sequence(format, self.init.ours.to_self_delay),
                witness: Witness::new(),
            }],
            output: alloc::vec![TxOut { value, script_pubkey: destination.clone() }],
        };
        let witness = self.sign_sweep(secp, signer, output, &transaction)?;
        if let Some(input) = transaction.input.first_mut() {
            input.witness = witness;
        }
        Ok(Claim::Ready(transaction))
    }

    fn sign_sweep(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        output: &Output,
        transaction: &Transaction,
    ) -> Result<Witness, BuildError> {
        let key = self.sweep_key(output)?;
        let signature = signer.sign_input(&InputToSign {
            transaction,
            input: 0,
            value: output.value,
            script: &output.script,
            sighash: EcdsaSighashType::All,
            key: &key,
        })?;
        let script = &output.script;
        match output.spend {
            Spend::Delayed => Ok(witness::delayed(&signature, script)),
            Spend::CountersignerBalance => {
                let key = &self.init.ours.keys.payment_basepoint;
                Ok(witness::countersigner_balance(self.init.format, &signature, key))
            }
            Spend::OfferedWithPreimage => {
                let preimage = self.preimage_of(output).ok_or(BuildError::Inconsistent)?;
                Ok(witness::offered_with_preimage(&signature, preimage, script))
            }
            Spend::ReceivedAfterExpiry => Ok(witness::received_after_expiry(&signature, script)),
            Spend::RevokedDelayed => Ok(witness::revoked_delayed(&signature, script)),
            Spend::RevokedOffered | Spend::RevokedReceived => {
                let Authority::Revocation { number } = output.authority else {
                    return Err(BuildError::Inconsistent);
                };
                let keys = self.revoked_keys(secp, number).ok_or(BuildError::Inconsistent)?;
                Ok(witness::revoked_htlc(&signature, &keys.revocation_key, script))
            }
            Spend::Anchor
            | Spend::AnchorByAnyone
            | Spend::Funding
            | Spend::HtlcSuccess
            | Spend::HtlcTimeout => Err(BuildError::Inconsistent),
        }
    }

    fn sweep_key(&self, output: &Output) -> Result<SigningKey, BuildError> {
        match (output.spend, &output.authority) {
            (Spend::CountersignerBalance, _) => Ok(SigningKey::Payment),
            (Spend::Delayed, Authority::Point { point }) => Ok(SigningKey::Delayed(*point)),
            (_, Authority::Point { point }) => Ok(SigningKey::Htlc(*point)),
            (_, Authority::Revocation { number }) => {
                self.secrets.get(*number).map(SigningKey::Revocation).ok_or(BuildError::Inconsistent)
            }
            (_, Authority::SecondStage { .. }) => Err(BuildError::Inconsistent),
        }
    }

    /// The second-stage transaction of one HTLC of our commitment, with the coins' inputs and the change behind, if any.
    /// The coins' witnesses are still to be made.
    pub(crate) fn build_second_stage(
        &self,
        signer: &impl ChannelSigner,
        output: &Output,
        ours: Option<&Built>,
        fees: Option<&FeeInputs>,
    ) -> Result<Transaction, BuildError> {
        let (Some(built), Authority::SecondStage { point, signature }) = (ours, &output.authority) else {
            return Err(BuildError::Inconsistent);
        };
        let htlcs = built.tx.htlcs.iter();
        let htlc = htlcs
            .into_iter()
            .find(|htlc| htlc.vout == output.outpoint.vout)
            .ok_or(BuildError::Inconsistent)?;
        let params = self.init.our_params();
        let stage = SecondStage::new(&params, &built.keys, &built.tx).ok_or(BuildError::Inconsistent)?;
        let mut transaction = stage.tx(htlc);
        if let Some(fees) = fees {
            self.add_fee_inputs(&mut transaction, output, fees);
        }
        let ours = signer.sign_input(&InputToSign {
            transaction: &transaction,
            input: 0,
            value: output.value,
            script: &output.script,
            sighash: EcdsaSighashType::All,
            key: &SigningKey::Htlc(*point),
        })?;
        let format = self.init.format;
        let witness = if output.needs_preimage() {
            let preimage = self.preimage_of(output).ok_or(BuildError::Inconsistent)?;
            witness::htlc_success(format, signature, &ours, preimage, &output.script)
        } else {
            witness::htlc_timeout(format, signature, &ours, &output.script)
        };
        if let Some(input) = transaction.input.first_mut() {
            input.witness = witness;
        }
        Ok(transaction)
    }

    /// The second-stage transaction that claims `outpoint`, with coins that pay its fee, if it is still to be claimed.
    pub(crate) fn fund_second_stage(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        outpoint: OutPoint,
        fees: &FeeInputs,
    ) -> Option<Transaction> {
        let closing = self.closing.as_ref()?;
        let waiting = |output: &&Output| output.outpoint == outpoint && output.spent.is_none();
        let output = closing.outputs.iter().find(waiting)?;
        let built = self.build_ours(secp, signer).ok()?;
        self.build_second_stage(signer, output, Some(&built), Some(fees)).ok()
    }

    /// Adds the coins, and what they leave over as change where that is worth an output.
    fn add_fee_inputs(&self, transaction: &mut Transaction, output: &Output, fees: &FeeInputs) {
        let FeeInputs { coins, feerate } = fees;
        transaction.input.extend(coins.inputs.iter().map(|coin| TxIn {
            previous_output: coin.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        }));
        let brought = coins.inputs.iter().map(|coin| coin.output.value.to_sat()).fold(0, u64::saturating_add);
        let fixed = self.second_stage_weight(output, coins.change.len());
        let weights = coins.inputs.iter().map(|coin| coin.input_weight);
        let weight = weights.fold(fixed, u64::saturating_add);
        let left = brought.saturating_sub(feerate.fee(weight).to_sat());
        let change = TxOut { value: Amount::from_sat(left), script_pubkey: coins.change.clone() };
        if change.value >= change.script_pubkey.minimal_non_dust() {
            transaction.output.push(change);
        }
    }
}
