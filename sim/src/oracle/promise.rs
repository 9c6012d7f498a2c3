//! What leaves a node must be durable there (O4), and must not take anything back that was said before (O3).
//!
//! The signer's book says what each signature and secret means; the disk says what would survive if the machine stopped now.
use std::collections::BTreeMap;

use bitcoin::Transaction;
use lightning_traits::id::{ChannelId, ChannelKeysId, CommitmentNumber};
use lightning_traits::wire::{Message, RevokeAndAck};

use super::{Oracle, broken, hold};
use crate::disk::SimDisk;
use crate::keys::{Book, Signed};

/// What one node has promised so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    /// The peer's commitments that it has signed for, as the peer saw it.
    signed: BTreeMap<(ChannelKeysId, CommitmentNumber), Signed>,
    /// Its first commitment of a channel that is not revoked, as the peer knows.
    unrevoked: BTreeMap<ChannelKeysId, CommitmentNumber>,
    /// Who was sent the secrets of a channel.
    told: BTreeMap<ChannelKeysId, (usize, ChannelId)>,
    /// The latest commitment of its own that it has sent to the chain.
    published: BTreeMap<ChannelKeysId, CommitmentNumber>,
}

impl Promises {
    /// A message leaves the node.
    pub(crate) fn on_sent(&mut self, node: usize, message: &Message, disk: &SimDisk, book: &Book) {
        match message {
            Message::FundingSigned(signed) => {
                let is_durable = disk.marks(&signed.channel_id).is_some();
                hold(Oracle::Durable, is_durable, || {
                    format!("node {node} signs for channel {} before it is durable", signed.channel_id)
                });
            }
            Message::ChannelReady(ready) => {
                hold(Oracle::Durable, disk.marks(&ready.channel_id).is_some(), || {
                    format!("channel {} is ready and not on the disk of node {node}", ready.channel_id)
                });
            }
            Message::CommitmentSigned(message) => {
                let Some(signed) = book.signed_theirs(&message.signature) else {
                    broken(
                        Oracle::Secrets,
                        format!("node {node} sends a signature that its signer never made"),
                    )
                };
                let durable = disk.marks(&message.channel_id).map(|marks| marks.theirs);
                hold(Oracle::Durable, durable.is_some_and(|durable| durable >= signed.number), || {
                    format!("node {node} signs their commitment {}, durable is {durable:?}", signed.number)
                });
                let known = self.signed.entry((signed.keys, signed.number)).or_insert(signed);
                hold(Oracle::Secrets, known.txid == signed.txid, || {
                    format!("node {node} signs two commitments {} of {}", signed.number, message.channel_id)
                });
            }
            Message::RevokeAndAck(message) => {
                let Some((keys, number)) = book.released(&message.per_commitment_secret) else {
                    broken(Oracle::Secrets, format!("node {node} revokes with a secret of nobody's"))
                };
                let durable = disk.marks(&message.channel_id).map(|marks| marks.ours);
                hold(Oracle::Durable, durable.is_some_and(|durable| durable > number), || {
                    format!("node {node} revokes its commitment {number}, the latest durable is {durable:?}")
                });
                let unrevoked = self.unrevoked.entry(keys).or_default();
                *unrevoked = (*unrevoked).max(number.next());
                self.check_published(node, keys);
            }
            Message::UpdateFulfillHtlc(message) => {
                let hash = message.payment_preimage.hash();
                let marks = disk.marks(&message.channel_id);
                hold(Oracle::Durable, marks.is_some_and(|marks| marks.preimages.contains(&hash)), || {
                    format!("node {node} shows the preimage of {hash} before it is durable")
                });
            }
            _ => {}
        }
    }

    /// A secret of the node's has reached `peer`.
    pub(crate) fn on_revealed(&mut self, peer: usize, message: &RevokeAndAck, book: &Book) {
        if let Some((keys, _)) = book.released(&message.per_commitment_secret) {
            self.told.insert(keys, (peer, message.channel_id));
        }
    }

    /// A transaction goes to the chain. A node that has `forgotten` cannot know of a revocation that its peer has not, or has
    /// forgotten in a crash: what nobody can prove nobody can punish. `provable` says what a node has written of a peer's.
    pub(crate) fn on_broadcast(
        &mut self,
        node: usize,
        transaction: &Transaction,
        book: &Book,
        has_forgotten: bool,
        provable: impl Fn(usize, &ChannelId) -> CommitmentNumber,
    ) {
        if let Some(Signed { keys, number, .. }) = book.signed_ours(&transaction.compute_txid()) {
            let published = self.published.entry(keys).or_default();
            *published = (*published).max(number);
            let told = self.told.get(&keys);
            let unrevoked = if has_forgotten {
                told.map(|(peer, channel)| provable(*peer, channel)).unwrap_or_default()
            } else {
                self.unrevoked.get(&keys).copied().unwrap_or_default()
            };
            hold(Oracle::Secrets, number >= unrevoked, || {
                format!(
                    "node {node} publishes its commitment {number}, and has revoked all before {unrevoked}"
                )
            });
        }
    }

    /// A tower of the node sends its commitment to the chain.
    pub(crate) fn on_tower_broadcast(&mut self, node: usize, keys: ChannelKeysId, number: CommitmentNumber) {
        let unrevoked = self.unrevoked(keys);
        hold(Oracle::Duty, number >= unrevoked, || {
            format!(
                "a tower publishes commitment {number} of node {node}, which has revoked all before {unrevoked}"
            )
        });
        let published = self.published.entry(keys).or_default();
        *published = (*published).max(number);
    }

    /// The first commitment of a channel that is not revoked, as the peer knows.
    pub(crate) fn unrevoked(&self, keys: ChannelKeysId) -> CommitmentNumber {
        self.unrevoked.get(&keys).copied().unwrap_or_default()
    }

    fn check_published(&self, node: usize, keys: ChannelKeysId) {
        let (published, unrevoked) = (self.published.get(&keys), self.unrevoked.get(&keys));
        if let (Some(published), Some(unrevoked)) = (published, unrevoked) {
            hold(Oracle::Secrets, published >= unrevoked, || {
                format!("node {node} revokes its commitment {published}, which it has sent to the chain")
            });
        }
    }
}
