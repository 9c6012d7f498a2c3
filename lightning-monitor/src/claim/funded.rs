//! Transactions that the user's coins pay for: from the coins to what is remembered and broadcast.
use alloc::vec::Vec;

use bitcoin::{OutPoint, ScriptBuf, Transaction};
use lightning_traits::Secp;
use lightning_traits::interface::{ChannelSigner, CoinSource, Coins};

use super::{Attempt, Child, FeeInputs};
use crate::monitor::ChannelMonitor;
use crate::resolve::{CoinRequest, Purpose};

/// What coins were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Funded {
    /// A second-stage transaction.
    Claim(Attempt),
    /// A child of a commitment.
    Child(Child),
}

impl Funded {
    /// With the wallet's signatures.
    pub(crate) fn signed_by(self, coins: &impl CoinSource) -> Option<Self> {
        match self {
            Self::Claim(claim) => {
                Some(Self::Claim(Attempt { transaction: coins.sign(claim.transaction)?, ..claim }))
            }
            Self::Child(child) => {
                Some(Self::Child(Child { transaction: coins.sign(child.transaction)?, ..child }))
            }
        }
    }
}

impl ChannelMonitor {
    /// What was asked for, if it is still wanted; the wallet has still to sign.
    pub(crate) fn fund(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        fees: &FeeInputs<'_>,
    ) -> Option<Funded> {
        match &fees.request.purpose {
            Purpose::SecondStage => self.fund_second_stage(secp, signer, fees).map(Funded::Claim),
            Purpose::Child { parent } => self.fund_child(signer, parent, fees).map(Funded::Child),
        }
    }

    /// The user's coins that what is out spends, and where its change goes, by the claim that they were lent to.
    pub(crate) fn coins_out(&self) -> Vec<(OutPoint, Vec<OutPoint>, Option<ScriptBuf>)> {
        let mut lent = Vec::new();
        // The first input is the channel's, and in a second stage the first output too.
        let mut note = |claim: OutPoint, transaction: &Transaction, change: usize| {
            let inputs = transaction.input.iter().skip(1);
            let coins: Vec<OutPoint> = inputs.map(|input| input.previous_output).collect();
            let change = transaction.output.get(change).map(|output| output.script_pubkey.clone());
            if !coins.is_empty() {
                lent.push((claim, coins, change));
            }
        };
        if let Some(closing) = &self.closing {
            let funded = closing.outputs.iter().filter(|output| output.is_second_stage());
            for outpoint in funded.map(|output| output.outpoint) {
                let claims = closing.claims.iter().filter(|claim| claim.outpoints.contains(&outpoint));
                claims.for_each(|claim| note(outpoint, &claim.transaction, 1));
            }
        }
        for child in &self.children {
            note(self.init.funding.outpoint, &child.transaction, 0);
        }
        lent
    }

    /// Whether something is out that was paid for with the coins of this claim.
    pub(crate) fn uses_coins_of(&self, claim: OutPoint) -> bool {
        let mut claims = self.closing.iter().flat_map(|closing| &closing.claims);
        (claim == self.init.funding.outpoint && !self.children.is_empty())
            || claims.any(|known| known.outpoints.contains(&claim))
    }

    /// Whether what is out for a request spends these very coins.
    pub(crate) fn spends_already(&self, request: &CoinRequest, coins: &Coins) -> bool {
        let out = match &request.purpose {
            Purpose::SecondStage => {
                let mut claims = self.closing.iter().flat_map(|closing| &closing.claims);
                let claim = claims.find(|known| known.outpoints.contains(&request.outpoint));
                claim.map(|claim| &claim.transaction)
            }
            Purpose::Child { parent } => {
                let child = self.children.iter().find(|child| child.parent == parent.txid);
                child.map(|child| &child.transaction)
            }
        };
        out.is_some_and(|out| {
            let spent: Vec<OutPoint> = out.input.iter().skip(1).map(|input| input.previous_output).collect();
            spent.len() == coins.inputs.len()
                && coins.inputs.iter().all(|coin| spent.contains(&coin.outpoint))
        })
    }

    /// Remembers it, and gives what to broadcast.
    pub(crate) fn keep(&mut self, funded: Funded, request: &CoinRequest) -> Vec<Transaction> {
        match (funded, &request.purpose) {
            (Funded::Claim(claim), _) => self.keep_claim(claim, request.tip),
            (Funded::Child(child), Purpose::Child { parent }) => self.keep_child(child, parent),
            (Funded::Child(child), Purpose::SecondStage) => alloc::vec![child.transaction],
        }
    }
}
