//! Making and signing the transactions that claim outputs.
//!
//! What stands on its own pays its fee out of the outputs and goes to the user's script. A second-stage
//! transaction pays what both signed: with a fee in it, or, with anchors, none: then [`FeeInputs`] bring it.
use alloc::vec::Vec;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, EcdsaSighashType, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use lightning_traits::Secp;
use lightning_traits::interface::{ChannelSigner, Coins, InputToSign, SignError, SigningKey};
use lightning_traits::payment::Preimage;
use lightning_traits::tx::{SecondStage, Spend, witness};
use lightning_traits::units::{BlockHeight, FeeratePerKw};

use super::{Attempt, Authority, Output, Price, least_replacing, rate_of};
use crate::detect::Built;
use crate::monitor::ChannelMonitor;
use crate::resolve::CoinRequest;

/// Coins of the user, and what they were asked for.
#[derive(Clone, Debug)]
pub(crate) struct FeeInputs<'a> {
    pub(crate) coins: &'a Coins,
    pub(crate) request: &'a CoinRequest,
}

/// Why a claim cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildError {
    /// The signer has not signed.
    Signer(SignError),
    /// The output does not fit the commitment it is said to be of.
    Inconsistent,
    /// The coins weigh so much that the fee is above what may be paid.
    TooDear,
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

    /// The transaction that sends outputs to the user, less a fee that leaves something.
    pub(crate) fn build_sweep(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        outputs: &[Output],
        fee: Amount,
    ) -> Result<Transaction, BuildError> {
        let value = outputs.iter().map(|output| output.value.to_sat()).fold(0, u64::saturating_add);
        let value = Amount::from_sat(value).checked_sub(fee).ok_or(BuildError::Inconsistent)?;
        let lock_time = outputs.iter().map(lock_time_of).max().unwrap_or_default();
        let mut transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::from_consensus(lock_time),
            input: outputs.iter().map(|output| self.sweep_input(output)).collect(),
            output: alloc::vec![TxOut { value, script_pubkey: self.init.destination.clone() }],
        };
        let mut witnesses = Vec::with_capacity(outputs.len());
        for (index, output) in outputs.iter().enumerate() {
            witnesses.push(self.sign_sweep(secp, signer, output, index, &transaction)?);
        }
        for (input, witness) in transaction.input.iter_mut().zip(witnesses) {
            input.witness = witness;
        }
        Ok(transaction)
    }

    fn sweep_input(&self, output: &Output) -> TxIn {
        // Only their outputs of a revoked commitment have a delay of theirs, and penalties do not wait for it.
        let sequence = output.spend.sequence(self.init.format, self.init.ours.to_self_delay);
        TxIn {
            previous_output: output.outpoint,
            script_sig: ScriptBuf::new(),
            sequence,
            witness: Witness::new(),
        }
    }

    fn sign_sweep(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        output: &Output,
        input: usize,
        transaction: &Transaction,
    ) -> Result<Witness, BuildError> {
        let key = self.sweep_key(output)?;
        let signature = signer.sign_input(&InputToSign {
            transaction,
            input,
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
        fees: Option<&FeeInputs<'_>>,
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
            let fixed = self.second_stage_weight(output, fees.coins.change.len());
            add_coins(&mut transaction, fixed, Amount::ZERO, fees).ok_or(BuildError::TooDear)?;
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

    /// The second-stage transaction that was asked for, with coins that pay its fee, if it is still to be claimed; the wallet
    /// has still to sign.
    pub(crate) fn fund_second_stage(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        fees: &FeeInputs<'_>,
    ) -> Option<Attempt> {
        let closing = self.closing.as_ref()?;
        let outpoint = fees.request.outpoint;
        let waiting = |output: &&Output| output.outpoint == outpoint && output.spent.is_none();
        let output = closing.outputs.iter().find(waiting)?;
        let built = self.build_ours(secp, signer).ok()?;
        let transaction = self.build_second_stage(signer, output, Some(&built), Some(fees)).ok()?;
        let brought = fees.brought().to_sat().saturating_add(output.value.to_sat());
        let fee = paid(brought, &transaction);
        let price =
            Price { feerate: fees.feerate(self.second_stage_weight(output, fees.coins.change.len())), fee };
        Some(Attempt { outpoints: alloc::vec![outpoint], transaction, price })
    }
}

impl FeeInputs<'_> {
    /// The weight of a transaction that weighs `fixed` without the coins.
    fn weight(&self, fixed: u64) -> u64 {
        self.coins.inputs.iter().map(|coin| coin.input_weight).fold(fixed, u64::saturating_add)
    }

    /// The rate that was asked for, the parent's share included; many small coins may weigh more than was expected, then what
    /// the budget is for that weight.
    fn feerate(&self, fixed: u64) -> FeeratePerKw {
        let (weight, fee) = self.request.purpose.carried();
        let most = Amount::from_sat(self.request.most.to_sat().saturating_add(fee.to_sat()));
        self.request.feerate.min(rate_of(most, self.weight(fixed).saturating_add(weight)))
    }

    /// What the coins are worth.
    pub(super) fn brought(&self) -> Amount {
        let values = self.coins.inputs.iter().map(|coin| coin.output.value.to_sat());
        Amount::from_sat(values.fold(0, u64::saturating_add))
    }
}

/// What a transaction with inputs of this sum pays.
pub(super) fn paid(brought: u64, transaction: &Transaction) -> Amount {
    let out = transaction.output.iter().map(|output| output.value.to_sat()).fold(0, u64::saturating_add);
    Amount::from_sat(brought.saturating_sub(out))
}

/// Adds the coins, and what they leave over as change where that is worth an output, so that the transaction, which weighs `fixed`
/// without them and brings `own` itself, pays what was asked for; the feerate, or `None` when that is above what may be paid.
pub(super) fn add_coins(
    transaction: &mut Transaction,
    fixed: u64,
    own: Amount,
    fees: &FeeInputs<'_>,
) -> Option<FeeratePerKw> {
    let FeeInputs { coins, request } = fees;
    transaction.input.extend(coins.inputs.iter().map(|coin| TxIn {
        previous_output: coin.outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    }));
    let weight = fees.weight(fixed);
    let (parent_weight, parent_fee) = request.purpose.carried();
    let rate = fees.feerate(fixed);
    let least = request.replaces.map_or(FeeratePerKw::FLOOR.fee(weight), |old| least_replacing(old, weight));
    let missing = rate.fee(weight.saturating_add(parent_weight)).checked_sub(parent_fee);
    let fee = missing.unwrap_or_default().max(least);
    if rate < request.floor || fee > request.most {
        return None;
    }
    let needed = fee.checked_sub(own).unwrap_or(Amount::ZERO);
    let left = fees.brought().checked_sub(needed).unwrap_or(Amount::ZERO);
    if left >= coins.change.minimal_non_dust() {
        transaction.output.push(TxOut { value: left, script_pubkey: coins.change.clone() });
    }
    Some(rate)
}

const fn lock_time_of(output: &Output) -> u32 {
    match (output.spend, &output.htlc) {
        (Spend::ReceivedAfterExpiry, Some(htlc)) => htlc.expiry.get(),
        _ => 0,
    }
}
