//! How a villain changes what it says.
use lightning_traits::id::{CommitmentNumber, HtlcId};
use lightning_traits::payment::{PaymentHash, Preimage};
use lightning_traits::units::{CltvExpiry, FeeratePerKw, Msat};
use lightning_traits::wire::Message;

use crate::dice::Dice;

/// The message with something changed; bytes that may be no message at all.
pub(crate) fn lie(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let decoded = Message::decode(bytes).ok().filter(|_| !dice.once_in(5));
    let changed = decoded.and_then(|message| change(message, dice)).and_then(|lie| lie.to_wire().ok());
    changed.unwrap_or_else(|| garble(bytes, dice))
}

/// Some bit is another, or the end is missing.
fn garble(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if dice.once_in(4) {
        bytes.truncate(2 + dice.pick(bytes.len()));
    } else {
        let at = dice.pick(bytes.len());
        bytes[at] ^= 1 << dice.roll(8);
    }
    bytes
}

fn change(mut message: Message, dice: &mut Dice) -> Option<Message> {
    match &mut message {
        Message::ChannelReestablish(reestablish) => {
            let CommitmentNumber(next) = reestablish.next_commitment_number;
            let CommitmentNumber(revoked) = reestablish.next_revocation_number;
            match dice.roll(4) {
                0 => {
                    let numbers = [
                        0,
                        next.wrapping_sub(1),
                        next.wrapping_add(1),
                        next.wrapping_add(5),
                        (1 << 48) - 1,
                        u64::MAX,
                    ];
                    reestablish.next_commitment_number = CommitmentNumber(dice.of(&numbers));
                }
                1 | 2 => {
                    // "You are late": without proof, since the secret is nobody's.
                    let numbers = [1, 2, 9].map(|more| revoked.wrapping_add(more));
                    let numbers = [numbers[0], numbers[1], numbers[2], (1 << 48) - 1, u64::MAX, 0];
                    reestablish.next_revocation_number = CommitmentNumber(dice.of(&numbers));
                    reestablish.your_last_per_commitment_secret = dice.of(&[[0; 32], [7; 32]]);
                }
                _ => reestablish.your_last_per_commitment_secret = dice.bytes32(),
            }
        }
        Message::UpdateAddHtlc(add) => match dice.roll(5) {
            0 => add.id = HtlcId(dice.of(&[0, add.id.0.wrapping_add(1), u64::MAX])),
            1 => {
                let most = [0, 1, add.amount_msat.to_msat().wrapping_add(1), 900_000_000, u64::MAX];
                add.amount_msat = Msat::new(dice.of(&most));
            }
            2 => add.cltv_expiry = CltvExpiry::new(dice.of(&[0, 1, 150, 5_000, 500_000_000, u32::MAX])),
            3 => add.payment_hash = PaymentHash(dice.bytes32()),
            _ => {
                let mut onion = (*add.onion_routing_packet).clone();
                match dice.roll(3) {
                    0 => onion.version = 1,
                    1 => onion.hmac = dice.bytes32(),
                    _ => onion.ephemeral_key = [0xff; 33],
                }
                add.onion_routing_packet = std::sync::Arc::new(onion);
            }
        },
        Message::UpdateFulfillHtlc(fulfill) => match dice.roll(2) {
            0 => fulfill.id = HtlcId(dice.of(&[0, 1, fulfill.id.0.wrapping_add(1), u64::MAX])),
            _ => fulfill.payment_preimage = Preimage::new(dice.bytes32()),
        },
        Message::UpdateFailHtlc(fail) => match dice.roll(2) {
            0 => fail.id = HtlcId(dice.of(&[0, 1, fail.id.0.wrapping_add(1), u64::MAX])),
            _ => fail.reason = vec![9; dice.of(&[0, 1, 256, 292, 60_000])],
        },
        Message::UpdateFee(fee) => {
            fee.feerate_per_kw = FeeratePerKw::new(dice.of(&[0, 1, 252, 3_000, 1_000_000, u32::MAX]));
        }
        Message::CommitmentSigned(signed) => match dice.roll(3) {
            0 => drop(signed.htlc_signature.pop()),
            1 => signed.htlc_signature.push(signed.signature),
            _ => signed.htlc_signature.reverse(),
        },
        Message::RevokeAndAck(revoked) => match dice.roll(2) {
            0 => revoked.per_commitment_secret = dice.bytes32(),
            _ => revoked.per_commitment_secret[dice.pick(32)] ^= 1,
        },
        _ => return None,
    }
    Some(message)
}
