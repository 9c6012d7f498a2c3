//! Messages of protocols that are not built: interactive construction, splicing (BOLT 2). Villains send them to channels, which
//! must refuse them and go on.
use lightning_channel::channel::PhaseName;
use lightning_traits::id::ChannelId;

use crate::run::Run;
use crate::wires::Frame;
use crate::world::Link;

/// A public key, for messages that carry one.
const POINT: [u8; 33] = {
    // The generator of secp256k1.
    let mut point = [0; 33];
    point[0] = 2;
    let x: [u8; 32] = [
        0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02,
        0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
    ];
    let mut at = 0;
    while at < 32 {
        point[at + 1] = x[at];
        at += 1;
    }
    point
};

/// Types, how many zeros follow the channel, and whether a public key follows these.
const MESSAGES: &[(u16, usize, bool)] = &[
    (2, 1, false),
    (66, 18, false),
    (67, 18, false),
    (68, 8, false),
    (69, 8, false),
    (70, 0, false),
    (71, 34, false),
    (72, 8, false),
    (73, 0, false),
    (74, 2, false),
    (77, 32, false),
    (80, 16, true),
    (81, 8, true),
    (127, 2, false),
];

fn message((type_id, zeros, has_point): (u16, usize, bool), channel: ChannelId) -> Vec<u8> {
    let point: &[u8] = if has_point { &POINT } else { &[] };
    [&type_id.to_be_bytes()[..], &channel.0, &vec![0; zeros], point].concat()
}

impl Run {
    /// Sends some of them; most of all to a channel that is about to close.
    pub(crate) fn splice(&mut self) {
        let Some((villain, victim, link)) = self.front() else { return };
        let (world, peer) = (&self.world, self.world.nodes[villain].id());
        let is_closing = |link: &&Link| {
            let phase = world.nodes[victim].manager().channel_phase(peer, link.channel);
            link.ends.contains(&villain) && phase == Some(PhaseName::ShuttingDown)
        };
        let closing: Vec<Link> = world.links.iter().filter(is_closing).copied().collect();
        let closing = self.dice.some(&closing);
        for _ in 0..3 {
            let bytes = message(self.dice.of(MESSAGES), closing.unwrap_or(link).channel);
            self.world.wires.push(villain, victim, Frame::Message(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use lightning_traits::wire::Message;

    use super::*;

    #[test]
    fn each_is_a_message_of_its_type() {
        for kind in MESSAGES {
            let read = Message::decode(&message(*kind, ChannelId([7; 32])));
            let read = read.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
            assert_eq!(read.type_id(), kind.0);
            assert!(!matches!(read, Message::Unknown(_)), "{kind:?}");
        }
    }
}
