//! From LDK to LDK through our daemon, also when one of the two channels goes to the chain meanwhile.
use interop_ldk::net::{COINS, FEES, HTLC, HTLC_MSAT, Net, OPENING, PAYMENT_MSAT, PUSH};
use interop_ldk::node::{Node, Progress};

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_forward_from_ldk_to_ldk() {
    let net = Net::start().with_other();
    let [incoming, outgoing] = net.open_both();
    let before = net.ours().owned_msat(incoming).unwrap() + net.ours().owned_msat(outgoing).unwrap();
    let mut fees = 0;
    for _ in 0..5 {
        let hash = net.ldk().must_begin(&(net.other() as &dyn Node).new_invoice(PAYMENT_MSAT));
        net.ldk().must_be_paid(hash, net.other(), PAYMENT_MSAT);
        let Progress::Sent { fee_msat, .. } = net.ldk().progress(hash) else { panic!("it was paid") };
        assert!(fee_msat > 0, "we forward for nothing");
        fees += fee_msat;
    }
    net.ours().wait_idle(incoming);
    net.ours().wait_idle(outgoing);
    let after = net.ours().owned_msat(incoming).unwrap() + net.ours().owned_msat(outgoing).unwrap();
    assert_eq!(after, before + fees, "{}", net.ours);
}

/// The channel *to us* is force-closed while the HTLC is pending in both. The preimage then comes over the channel that
/// lives, and we must use it on the chain.
fn force_close_behind_a_forward(we_close: bool) {
    let net = Net::start().with_other();
    let [incoming, outgoing] = net.open_both();
    let (hash, preimage) = net.hold(net.ldk(), net.other());
    net.force_close(if we_close { net.ours() } else { net.ldk() }, incoming);
    net.other().claim(&preimage);
    net.ours().wait_idle(outgoing);
    // Our share of the closed channel and the HTLC come home; the HTLC went out over the other channel.
    net.mine_until_swept([COINS - OPENING.value + PUSH + HTLC - FEES, COINS - PUSH - HTLC - FEES]);
    net.ldk().must_be_paid(hash, net.other(), HTLC_MSAT);
    assert!(net.ours().is_usable(outgoing), "{}", net.ours);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_force_closes_behind_a_forward_and_we_claim_on_chain() {
    force_close_behind_a_forward(false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_force_close_behind_a_forward_and_claim_on_chain() {
    force_close_behind_a_forward(true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_preimage_from_the_chain_settles_the_incoming_half() {
    let net = Net::start().with_other();
    let [incoming, outgoing] = net.open_both();
    let (hash, preimage) = net.hold(net.ldk(), net.other());
    net.force_close(net.other(), outgoing);
    net.other().claim(&preimage);
    net.mine_until("the payer to have its proof", || net.ldk().progress(hash) != Progress::Pending);
    net.ldk().must_be_paid(hash, net.other(), HTLC_MSAT);
    net.ours().wait_idle(incoming);
    assert!(net.ours().is_usable(incoming), "{}", net.ours);
}
