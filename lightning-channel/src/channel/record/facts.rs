//! What a funded channel knows for good besides its commitments, and the entries that change it.
//!
//! # Invariants
//! - an entry is the only way in which durable state changes: live steps and restarts apply the same entries (I6)
//! - applying an entry cannot fail
use alloc::vec::Vec;

use bitcoin::{ScriptBuf, Transaction};
use lightning_traits::id::{ChannelId, ShortChannelId};
use lightning_traits::interface::ConfirmedTransaction;
use lightning_traits::record;
use lightning_traits::units::{BlockHeight, CltvDelta, FeeratePerKw, Msat};
use secp256k1::ecdsa::Signature;

use crate::channel::held::is_signed;
use crate::commitments::Change;

/// Who pays for the funding output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Funder {
    /// We do, by this transaction, which we broadcast until it confirms.
    Us { transaction: Transaction },
    /// The peer does; we forget the channel if it never confirms.
    Them {},
    /// We do, by this transaction, which nobody may see yet; see `held.rs`.
    Held {
        /// As it was handed over: it may lack signatures, but its id is final.
        transaction: Transaction,
        /// All channels that it funds, this one too.
        members: Vec<ChannelId>,
        /// Whether it may be given away: then the channel is given up only on the user's word.
        is_committed: bool,
    },
}
record!(enum Funder {
    0 => Us { transaction }, 1 => Them {}, 2 => Held { transaction, members list, is_committed },
});

/// Where the funding transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// In no block of the best chain.
    Unseen {},
    /// In a block.
    Seen {
        /// Height of the block.
        height: BlockHeight,
        /// Index in the block.
        index: u32,
        /// A coinbase transaction, which cannot be spent for 100 blocks (RELIABILITY A11).
        coinbase: bool,
    },
    /// In no block, and while this one stands it never will be: another transaction in it spends an input of ours.
    Conflicted {
        /// Height of the block.
        height: BlockHeight,
    },
}
record!(enum Confirmation { 0 => Unseen {}, 1 => Seen { height, index, coinbase }, 2 => Conflicted { height } });

/// Confirmations of a transaction that spends an input of our funding transaction after which no reorganization is expected to
/// undo it. As deep as what the monitor is done with is buried: giving up a channel whose funding came back after all would leave
/// nobody to watch over it.
const CONFLICT_DEPTH: u32 = 100;

impl Confirmation {
    /// Whether the funding transaction can never confirm.
    pub(crate) const fn is_hopeless(&self, tip: BlockHeight) -> bool {
        match self {
            Self::Conflicted { height } => height.depth_at(tip) >= CONFLICT_DEPTH,
            Self::Unseen {} | Self::Seen { .. } => false,
        }
    }
}

impl Funder {
    /// Our funding transaction, if we know it.
    pub(crate) const fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Us { transaction } | Self::Held { transaction, .. } => Some(transaction),
            Self::Them {} => None,
        }
    }

    /// Whether one of these transactions of a block takes an input away from our funding transaction. What the peer's spends, only
    /// the peer knows.
    pub(crate) fn is_conflicted_by(&self, transactions: &[ConfirmedTransaction<'_>]) -> bool {
        let Some(ours) = self.transaction() else { return false };
        let spends_ours = |tx: &Transaction| {
            let mut inputs = tx.input.iter().map(|input| input.previous_output);
            inputs.any(|spent| ours.input.iter().any(|input| input.previous_output == spent))
        };
        let mut conflicts = transactions.iter().filter(|tx| spends_ours(tx.transaction)).peekable();
        // Most blocks have nothing of it, and then no id is computed.
        conflicts.peek().is_some() && {
            let txid = ours.compute_txid();
            conflicts.any(|tx| tx.transaction.compute_txid() != txid)
        }
    }
}

/// Who has sent `channel_ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Nobody.
    Neither {},
    /// We have.
    Ours {},
    /// The peer has; its next point waits in the commitments.
    Theirs {},
    /// Both have.
    Both {},
}
record!(enum Ready { 0 => Neither {}, 1 => Ours {}, 2 => Theirs {}, 3 => Both {} });

impl Ready {
    pub(crate) const fn with_ours(self) -> Self {
        match self {
            Self::Neither {} | Self::Ours {} => Self::Ours {},
            Self::Theirs {} | Self::Both {} => Self::Both {},
        }
    }

    pub(crate) const fn with_theirs(self) -> Self {
        match self {
            Self::Neither {} | Self::Theirs {} => Self::Theirs {},
            Self::Ours {} | Self::Both {} => Self::Both {},
        }
    }

    pub(crate) const fn is_ours_sent(self) -> bool {
        matches!(self, Self::Ours {} | Self::Both {})
    }

    pub(crate) const fn is_theirs_received(self) -> bool {
        matches!(self, Self::Theirs {} | Self::Both {})
    }
}

/// How far the announcement of the channel is (BOLT 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// It will not be announced.
    Private {},
    /// The peer's signatures are missing.
    Awaited {},
    /// The peer has signed the announcement for this id.
    Signed {
        /// The id that was signed for.
        scid: ShortChannelId,
        /// By the peer's node key.
        node: Signature,
        /// By the peer's funding key.
        bitcoin: Signature,
    },
}
record!(enum Announcement { 0 => Private {}, 1 => Awaited {}, 2 => Signed { scid, node, bitcoin } });

/// Where a funded channel stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for depth and for both `channel_ready`.
    AwaitingReady {},
    /// Carries payments.
    Open {},
    /// Somebody wants it closed; HTLCs drain.
    ShuttingDown { shutdown: Shutdown },
    /// Empty: the fee of the closing transaction is negotiated, from the start after each reconnection.
    Negotiating {
        /// Our script.
        ours: ScriptBuf,
        /// Their script.
        theirs: ScriptBuf,
        /// Closing transactions that both have signed; one of them will confirm.
        agreed: Vec<Agreed>,
    },
}
record!(enum Stage {
    0 => AwaitingReady {}, 1 => Open {}, 2 => ShuttingDown { shutdown }, 3 => Negotiating { ours, theirs, agreed list },
});

/// A closing transaction that both have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) transaction: Transaction,
    pub(crate) closer: Closer,
}
record!(struct Agreed { transaction, closer });

/// Who proposed a closing transaction and pays for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closer {
    /// The opener pays, the fee was negotiated.
    Legacy {},
    /// We do, to this script of ours, with a fee of this rate.
    Us { script: ScriptBuf, feerate: FeeratePerKw },
    /// They do.
    Them {},
}
record!(enum Closer { 0 => Legacy {}, 1 => Us { script, feerate }, 2 => Them {} });

/// What our user wants of the closing transaction beyond what the peer was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClosingWish {
    /// Where we want to be paid, if not where our `shutdown` said.
    pub(crate) script: Option<ScriptBuf>,
    /// Which feerate we pay, if not the estimate.
    pub(crate) feerate: Option<FeeratePerKw>,
    /// Whether our user asked for the close at all.
    pub(crate) asked: bool,
}
record!(struct ClosingWish { script, feerate, asked });

/// Who has asked to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// Our user has; `shutdown` leaves as soon as BOLT 2 allows.
    Asked { ours: ScriptBuf },
    /// We have sent ours.
    Sent { ours: ScriptBuf },
    /// Theirs has come; ours leaves as soon as BOLT 2 allows.
    Answering { ours: ScriptBuf, theirs: ScriptBuf },
    /// Both are out.
    Both { ours: ScriptBuf, theirs: ScriptBuf },
}
record!(enum Shutdown {
    0 => Asked { ours }, 1 => Sent { ours }, 2 => Answering { ours, theirs }, 3 => Both { ours, theirs },
});

impl Shutdown {
    /// Our script.
    pub(crate) const fn ours(&self) -> &ScriptBuf {
        match self {
            Self::Asked { ours }
            | Self::Sent { ours }
            | Self::Answering { ours, .. }
            | Self::Both { ours, .. } => ours,
        }
    }

    /// Their script, once their `shutdown` has come.
    pub(crate) const fn theirs(&self) -> Option<&ScriptBuf> {
        match self {
            Self::Asked { .. } | Self::Sent { .. } => None,
            Self::Answering { theirs, .. } | Self::Both { theirs, .. } => Some(theirs),
        }
    }

    /// Whether ours has left.
    pub(crate) const fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. } | Self::Both { .. })
    }
}

/// An event of the channel's life that the user must have heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    /// Funding is safe.
    Pending {},
    /// Payments flow.
    Ready {},
    /// Closed.
    Closed {},
    /// The funding transaction can be signed.
    Signable {},
}
record!(enum Milestone { 0 => Pending {}, 1 => Ready {}, 2 => Closed {}, 3 => Signable {} });

/// The peer's terms for forwarding to us, from its `channel_update`: they go into our invoices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TheirTerms {
    /// `timestamp` of the update.
    pub time: u32,
    /// `fee_base_msat`.
    pub fee_base: Msat,
    /// `fee_proportional_millionths`.
    pub fee_proportional_millionths: u32,
    /// `cltv_expiry_delta`.
    pub cltv_delta: CltvDelta,
    /// `htlc_minimum_msat`.
    pub htlc_minimum: Msat,
    /// `htlc_maximum_msat`.
    pub htlc_maximum: Msat,
}
record!(struct TheirTerms { time, fee_base, fee_proportional_millionths, cltv_delta, htlc_minimum, htlc_maximum });

/// Durable facts of a funded channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The name that the channel had while it was opened.
    pub(crate) temporary: ChannelId,
    pub(crate) funder: Funder,
    pub(crate) confirmation: Confirmation,
    pub(crate) ready: Ready,
    /// By which the peer may name the channel, and we in invoices; never a real id.
    pub(crate) alias: ShortChannelId,
    /// By which the peer lets us name the channel, if it said.
    pub(crate) their_alias: Option<ShortChannelId>,
    pub(crate) announcement: Announcement,
    /// Timestamp of our last `channel_update`.
    pub(crate) update_time: u32,
    /// Their last `channel_update` for the channel, if one came.
    pub(crate) their_terms: Option<TheirTerms>,
    /// What the user has not acknowledged yet.
    pub(crate) untold: Vec<Milestone>,
    pub(crate) closing_wish: ClosingWish,
    pub(crate) stage: Stage,
}
record!(struct Facts {
    temporary, funder, confirmation, ready, alias, their_alias, announcement, update_time, their_terms, untold list,
    closing_wish, stage
});

/// One durable change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Commitments { change: Change },
    Confirmed { height: BlockHeight, index: u32, coinbase: bool },
    Unconfirmed {},
    ReadySent {},
    ReadyReceived {},
    AliasReceived { alias: ShortChannelId },
    AnnouncementReceived { scid: ShortChannelId, node: Signature, bitcoin: Signature },
    ShutdownAsked { ours: ScriptBuf },
    ShutdownReceived { ours: ScriptBuf, theirs: ScriptBuf },
    ShutdownSent {},
    NegotiationStarted {},
    ClosingAgreed { transaction: Transaction, closer: Closer },
    UpdateSent { time: u32 },
    Told { milestone: Milestone },
    Resolved {},
    TheirTerms { terms: TheirTerms },
    GivenUp {},
    ClosingWished { script: Option<ScriptBuf>, feerate: Option<FeeratePerKw> },
    ClosingScripts { ours: ScriptBuf, theirs: ScriptBuf },
    FundingCommitted {},
    FundingReleased { transaction: Transaction },
    FundingConflicted { height: BlockHeight },
}
record!(enum Entry {
    0 => Commitments { change },
    1 => Confirmed { height, index, coinbase },
    2 => Unconfirmed {},
    3 => ReadySent {},
    4 => ReadyReceived {},
    5 => AliasReceived { alias },
    6 => AnnouncementReceived { scid, node, bitcoin },
    7 => ShutdownAsked { ours },
    8 => ShutdownReceived { ours, theirs },
    9 => ShutdownSent {},
    10 => NegotiationStarted {},
    11 => ClosingAgreed { transaction, closer },
    12 => UpdateSent { time },
    13 => Told { milestone },
    14 => Resolved {},
    15 => TheirTerms { terms },
    16 => GivenUp {},
    17 => ClosingWished { script, feerate },
    18 => ClosingScripts { ours, theirs },
    19 => FundingCommitted {},
    20 => FundingReleased { transaction },
    21 => FundingConflicted { height },
});

impl Facts {
    /// Applies an entry that is not about the commitments.
    pub(crate) fn evolve(&mut self, entry: &Entry) {
        match entry {
            Entry::Commitments { .. } | Entry::Resolved {} | Entry::GivenUp {} => {}
            Entry::Confirmed { height, index, coinbase } => {
                self.confirmation =
                    Confirmation::Seen { height: *height, index: *index, coinbase: *coinbase };
            }
            Entry::Unconfirmed {} => {
                self.confirmation = Confirmation::Unseen {};
                // The peer's signatures were for an id that is void now.
                if let Announcement::Signed { .. } = self.announcement {
                    self.announcement = Announcement::Awaited {};
                }
            }
            Entry::FundingConflicted { height } => {
                self.confirmation = Confirmation::Conflicted { height: *height };
            }
            Entry::FundingCommitted {} => self.commit_funding(),
            Entry::FundingReleased { transaction } => {
                self.funder = Funder::Us { transaction: transaction.clone() };
                self.untold.retain(|untold| *untold != Milestone::Signable {});
                self.untold.push(Milestone::Pending {});
            }
            Entry::ReadySent {} => self.set_ready(self.ready.with_ours()),
            Entry::ReadyReceived {} => self.set_ready(self.ready.with_theirs()),
            Entry::AliasReceived { alias } => self.their_alias = Some(*alias),
            Entry::AnnouncementReceived { scid, node, bitcoin } => {
                self.announcement = Announcement::Signed { scid: *scid, node: *node, bitcoin: *bitcoin };
            }
            Entry::ClosingAgreed { .. } => {
                if matches!(&self.stage, Stage::Negotiating { agreed, .. } if agreed.is_empty()) {
                    self.untold.push(Milestone::Closed {});
                }
                self.stage.evolve(entry);
            }
            Entry::ShutdownAsked { .. } => {
                self.closing_wish.asked = true;
                self.stage.evolve(entry);
            }
            Entry::ShutdownReceived { .. }
            | Entry::ShutdownSent {}
            | Entry::ClosingScripts { .. }
            | Entry::NegotiationStarted {} => self.stage.evolve(entry),
            Entry::ClosingWished { script, feerate } => {
                self.closing_wish = ClosingWish { script: script.clone(), feerate: *feerate, asked: true };
            }
            Entry::UpdateSent { time } => self.update_time = *time,
            Entry::TheirTerms { terms } => self.their_terms = Some(*terms),
            Entry::Told { milestone } => self.untold.retain(|untold| untold != milestone),
        }
    }

    fn commit_funding(&mut self) {
        if let Funder::Held { transaction, is_committed, .. } = &mut self.funder {
            *is_committed = true;
            if !is_signed(transaction) {
                self.untold.push(Milestone::Signable {});
            }
        }
    }

    fn set_ready(&mut self, ready: Ready) {
        self.ready = ready;
        if ready == (Ready::Both {}) && self.stage == (Stage::AwaitingReady {}) {
            self.stage = Stage::Open {};
            self.untold.push(Milestone::Ready {});
        }
    }
}

impl Stage {
    fn evolve(&mut self, entry: &Entry) {
        let next = match (&*self, entry) {
            (Self::AwaitingReady {} | Self::Open {}, Entry::ShutdownAsked { ours }) => {
                Self::ShuttingDown { shutdown: Shutdown::Asked { ours: ours.clone() } }
            }
            (Self::AwaitingReady {} | Self::Open {}, Entry::ShutdownReceived { ours, theirs }) => {
                Self::ShuttingDown {
                    shutdown: Shutdown::Answering { ours: ours.clone(), theirs: theirs.clone() },
                }
            }
            (Self::ShuttingDown { shutdown }, _) => shutdown.evolved(entry),
            (Self::Negotiating { ours, theirs, agreed }, Entry::ClosingAgreed { transaction, closer }) => {
                let mut agreed = agreed.clone();
                if !agreed.iter().any(|known| known.transaction == *transaction) {
                    agreed.push(Agreed { transaction: transaction.clone(), closer: closer.clone() });
                }
                Self::Negotiating { ours: ours.clone(), theirs: theirs.clone(), agreed }
            }
            (Self::Negotiating { agreed, .. }, Entry::ClosingScripts { ours, theirs }) => {
                Self::Negotiating { ours: ours.clone(), theirs: theirs.clone(), agreed: agreed.clone() }
            }
            (stage, _) => stage.clone(),
        };
        *self = next;
    }
}

impl Shutdown {
    /// The stage after `entry`.
    fn evolved(&self, entry: &Entry) -> Stage {
        let next = match (self.clone(), entry) {
            (Self::Asked { ours }, Entry::ShutdownSent {}) => Self::Sent { ours },
            (Self::Answering { ours, theirs }, Entry::ShutdownSent {}) => Self::Both { ours, theirs },
            (Self::Asked { ours }, Entry::ShutdownReceived { theirs, .. }) => {
                Self::Answering { ours, theirs: theirs.clone() }
            }
            (Self::Sent { ours }, Entry::ShutdownReceived { theirs, .. }) => {
                Self::Both { ours, theirs: theirs.clone() }
            }
            (Self::Answering { ours, .. }, Entry::ShutdownReceived { theirs, .. }) => {
                Self::Answering { ours, theirs: theirs.clone() }
            }
            (Self::Both { ours, .. }, Entry::ShutdownReceived { theirs, .. }) => {
                Self::Both { ours, theirs: theirs.clone() }
            }
            (Self::Both { ours, theirs }, Entry::NegotiationStarted {}) => {
                return Stage::Negotiating { ours, theirs, agreed: Vec::new() };
            }
            (same, _) => same,
        };
        Stage::ShuttingDown { shutdown: next }
    }
}
