//! HTLCs that were offered but never signed for: told once as never sent, and not again by a restart, which would have them
//! offered twice.
use lightning_traits::units::Msat;

use super::pair::{Fate, Intent, Pair, htlc};

fn offer(pair: &mut Pair, side: usize, name: u8) {
    let intent = Intent { name, from: side, amount: Msat::from_sat(10_000), fate: Fate::Claim };
    let offer = htlc(&intent, pair.nodes[side].height);
    pair.nodes[side].with(|channel, cx| channel.offer_htlc(cx, offer)).unwrap();
}

fn outputs(pair: &mut Pair, side: usize) {
    while pair.nodes[side].step() {}
}

#[test]
fn an_htlc_that_was_told_as_unsent_is_not_told_again_after_a_crash() {
    for crash_before_told in [false, true] {
        let mut pair = Pair::open(Msat::from_sat(300_000));
        // Both sign, so that neither may sign again; then the first offers one HTLC more.
        for side in [0, 1] {
            offer(&mut pair, side, side as u8 + 1);
            pair.nodes[side].with(|channel, cx| channel.commit(cx)).unwrap();
            outputs(&mut pair, side);
        }
        offer(&mut pair, 0, 3);
        outputs(&mut pair, 0);
        // The peer's signature makes the first node write, and with it the offer that is not signed for.
        let waiting: Vec<_> = pair.nodes[1].outgoing.drain(..).collect();
        for message in waiting {
            pair.deliver(0, message);
        }
        outputs(&mut pair, 0);
        assert_eq!(pair.nodes[0].channel().outgoing().count(), 2);

        if !crash_before_told {
            pair.disconnect();
            outputs(&mut pair, 0);
            let told: Vec<_> = pair.nodes[0]
                .unsent
                .iter()
                .map(|(_, htlc)| htlc.onion.packet().unwrap().payloads[0])
                .collect();
            assert_eq!(told, [3]);
        }
        pair.nodes[0].unsent.clear();
        pair.crash(0);
        outputs(&mut pair, 0);
        assert!(pair.nodes[0].unsent.is_empty());
        assert_eq!(pair.nodes[0].channel().outgoing().count(), 1, "the one that was signed for");

        // Its id is free, and what follows still gives the same record.
        pair.disconnect();
        pair.connect();
        while pair.move_once() {}
        offer(&mut pair, 0, 4);
        for _ in 0..50 {
            for side in [0, 1] {
                let _ = pair.nodes[side].with(|channel, cx| channel.commit(cx));
            }
            while pair.move_once() {}
        }
        let incoming = &pair.nodes[1].incoming;
        let brought: Vec<_> = incoming.iter().map(|htlc| htlc.onion.packet().unwrap().payloads[0]).collect();
        assert_eq!(brought, [1, 4]);
        assert!(pair.nodes[0].unsent.is_empty());
    }
}
