//! Reconnection: `channel_reestablish` and what is sent again (BOLT 2, "Message Retransmission").
//!
//! # Invariants
//! - changes nothing (I5): whatever is sent again is derived from the state (I4)
//! - at most one revocation and one signature are sent again, in the order in which they went out first
//! - the peer's counters are the truth about what it has (RELIABILITY B13)
use alloc::vec::Vec;

use lightning_traits::Secp;
use lightning_traits::codec::TlvRecords;
use lightning_traits::id::CommitmentNumber;
use lightning_traits::interface::{ChannelSigner, SignError};
use lightning_traits::tx::CommitmentSecret;
use lightning_traits::wire::{ChannelReestablish, Message};

use super::refusal::Desync;
use super::{Commitments, Turn};

/// Something to send again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are updates, and each is moved once")]
pub enum Resend {
    /// The last revocation: [`Commitments::revoke_again`].
    Revocation,
    /// An update.
    Update(Message),
    /// The last signature: [`Commitments::sign_again`].
    Signed,
}

impl Commitments {
    /// Our `channel_reestablish`.
    #[must_use]
    pub fn reestablish(&self, signer: &impl ChannelSigner) -> ChannelReestablish {
        let ours = &self.funding.ours;
        let next_revocation_number = self.secrets.next_number();
        // "if `next_revocation_number` equals 0: MUST set `your_last_per_commitment_secret` to all zeroes".
        let last = next_revocation_number.previous().and_then(|number| self.secrets.get(number));
        ChannelReestablish {
            channel_id: self.terms.channel,
            next_commitment_number: ours.number.next(),
            next_revocation_number,
            your_last_per_commitment_secret: last.map_or([0; 32], |secret| *secret.as_bytes()),
            // "MUST set `my_current_per_commitment_point` to a valid point": a slow signer does not hold us up.
            my_current_per_commitment_point: signer.commitment_point(ours.number).unwrap_or(ours.next_point),
            next_funding: None,
            my_current_funding_locked: None,
            unknown: TlvRecords::default(),
        }
    }

    /// What must be sent again after their `channel_reestablish`, in order. Call it after the connection's end was taken
    /// ([`Change::Dropped`](super::Change::Dropped)).
    ///
    /// # Errors
    /// [`Desync`] when there is no common state.
    pub fn retransmit(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        message: &ChannelReestablish,
    ) -> Result<Vec<Resend>, Desync> {
        // "if `next_commitment_number` is zero: MUST immediately fail the channel and broadcast any relevant latest
        // commitment transaction."
        if message.next_commitment_number == CommitmentNumber(0) {
            return Err(Desync::NextCommitmentZero);
        }
        let lacks_revocation = self.check_revocation_number(secp, signer, message)?;
        let lacks_signature = self.check_commitment_number(message)?;

        let mut resend = Vec::new();
        let signed = self.ours.signed.iter().map(|update| Resend::Update(self.message(update)));
        let batch = signed.chain([Resend::Signed]);
        match (lacks_signature, lacks_revocation) {
            (None, false) => {}
            (None, true) => resend.push(Resend::Revocation),
            (Some(_), false) => resend.extend(batch),
            // "MUST retransmit `revoke_and_ack` and `commitment_signed` in the same relative order as initially
            // transmitted": our commitment has its number since the last revocation.
            (Some(signed_after), true) if signed_after == self.funding.ours.number => {
                resend.push(Resend::Revocation);
                resend.extend(batch);
            }
            (Some(_), true) => {
                resend.extend(batch);
                resend.push(Resend::Revocation);
            }
        }
        resend.extend(self.ours.proposed.iter().map(|update| Resend::Update(self.message(update))));
        Ok(resend)
    }

    /// Whether they lack our last revocation.
    fn check_revocation_number(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        message: &ChannelReestablish,
    ) -> Result<bool, Desync> {
        let (theirs, ours) = (message.next_revocation_number, self.funding.ours.number);
        if theirs > ours {
            // They say that we revoked what for us is still valid. The point of the secret tells whether they can know
            // it; asking the signer for the secret itself would revoke our commitment.
            let proven = self.proves(secp, signer, theirs, message).map_err(Desync::Signer)?;
            return Err(Desync::WeAreLate { proven, theirs, ours });
        }
        match theirs.previous() {
            None if message.your_last_per_commitment_secret == [0; 32] => {}
            None => return Err(Desync::WrongSecret { number: theirs }),
            Some(number) => {
                let secret = signer.release_secret(number).map_err(Desync::Signer)?;
                if secret != CommitmentSecret::new(message.your_last_per_commitment_secret) {
                    return Err(Desync::WrongSecret { number });
                }
            }
        }
        if theirs == ours {
            Ok(false)
        } else if theirs.next() == ours {
            Ok(true)
        } else {
            Err(Desync::PeerLost { theirs, ours })
        }
    }

    /// Whether their last secret is the one that we release for the commitment before `next_revocation`.
    fn proves(
        &self,
        secp: &Secp,
        signer: &impl ChannelSigner,
        next_revocation: CommitmentNumber,
        message: &ChannelReestablish,
    ) -> Result<bool, SignError> {
        let Some(number) = next_revocation.previous().filter(|number| *number <= CommitmentNumber::LAST)
        else {
            return Ok(false);
        };
        let point = match signer.commitment_point(number) {
            Ok(point) => point,
            Err(SignError::InProgress) => return Err(SignError::InProgress),
            Err(_) => return Ok(false),
        };
        Ok(CommitmentSecret::new(message.your_last_per_commitment_secret).opens(secp, &point))
    }

    /// `Some` when they lack our last signature, with the number of our commitment when we made it.
    fn check_commitment_number(
        &self,
        message: &ChannelReestablish,
    ) -> Result<Option<CommitmentNumber>, Desync> {
        let (theirs, last) = (message.next_commitment_number, self.funding.theirs.number);
        let ours = last.next();
        match self.turn {
            _ if theirs == ours => Ok(None),
            _ if theirs > ours => Err(Desync::WeAreLate { proven: false, theirs, ours }),
            Turn::AwaitingRevocation { signed_after, .. } if theirs == last => Ok(Some(signed_after)),
            Turn::AwaitingReady {} | Turn::MaySign { .. } | Turn::AwaitingRevocation { .. } => {
                Err(Desync::PeerLost { theirs, ours })
            }
        }
    }
}
