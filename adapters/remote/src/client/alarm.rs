//! What the user of a remote monitor must hear, as values.
use std::sync::Arc;

use lightning_traits::id::{ChannelId, UpdateId};
use lightning_traits::monitor::LateRefusal;

use crate::seal::SealFault;
use crate::wire::chain::{ChainFault, Signed};
use crate::wire::{Goodbye, Head};

/// Something is wrong with a tower, or with us.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alarm {
    /// A statement that is not in order. After a fork the tower is not spoken to any more.
    Statement {
        /// What is wrong; a fork carries its proof.
        fault: ChainFault,
    },
    /// The tower does not have what it had acknowledged. It gets all of it again; `early` and `pages` prove it
    /// ([`is_negligence`](crate::wire::chain::is_negligence)).
    Lost {
        /// The channel.
        channel: ChannelId,
        /// What it had acknowledged.
        acknowledged: Head,
        /// What it has.
        found: Option<Head>,
        /// Its word of then.
        early: Arc<Signed>,
        /// Its word of now.
        pages: Arc<Vec<Signed>>,
    },
    /// The tower knows more of our channel than we do, or another update by the same id: our disk is old. To go on would be to publish or sign what is revoked
    /// (RELIABILITY B1). The channel stands still until it is restored, or the tower is overruled.
    Ahead {
        /// The channel.
        channel: ChannelId,
        /// Our last update.
        ours: UpdateId,
        /// The tower's.
        found: UpdateId,
    },
    /// The tower refuses a channel though it got all of it.
    Refused {
        /// Which, and why.
        refusal: LateRefusal,
    },
    /// The tower does not serve us.
    Goodbye {
        /// Why.
        why: Goodbye,
    },
    /// The tower says what makes no sense: the session begins anew.
    Garbled,
    /// What is kept of a channel does not open.
    Seal {
        /// The channel.
        channel: ChannelId,
        /// Why.
        fault: SealFault,
    },
}
