//! The end of channels: with the peer's consent, without it, with an HTLC under way, of both channel types.
use interop_ldk::ldk::LdkOptions;
use interop_ldk::net::{COINS, FEES, HTLC, HTLC_MSAT, Net, PUSH, shares};
use interop_ldk::node::Close;
use interop_ldk::wait::wait_until;

fn cooperative_close(we_open: bool, we_close: bool) {
    let net = Net::start();
    let (opener, accepter) = if we_open { (net.ours(), net.ldk()) } else { (net.ldk(), net.ours()) };
    let funding = net.open(opener, accepter);
    net.pay_both_ways();
    let closer = if we_close { net.ours() } else { net.ldk() };
    closer.close(funding, Close::Cooperative);
    net.confirm_close(funding);
    let close = net.chain.spender(funding, net.chain.height()).unwrap();
    assert_eq!(close.output.len(), 2, "a closing transaction has no anchors: {close:?}");
    net.mine_until_swept(shares(we_open));
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_close_our_channel_cooperatively() {
    cooperative_close(true, true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_close_their_channel_cooperatively() {
    cooperative_close(false, true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_closes_our_channel_cooperatively() {
    cooperative_close(true, false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_closes_its_channel_cooperatively() {
    cooperative_close(false, false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn a_cooperative_close_waits_for_its_htlcs() {
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let (hash, preimage) = net.hold(net.ours(), &net.ldk);
    net.ours().close(funding, Close::Cooperative);
    let asked = || net.ldk.channel(funding).is_some_and(|found| !found.is_usable);
    wait_until("LDK to hear of it", || net.ldk(), asked);
    assert!(net.chain.is_unspent(funding), "closed over an HTLC");
    net.ldk.claim(&preimage);
    net.ours().must_be_paid(hash, net.ldk(), HTLC_MSAT);
    net.confirm_close(funding);
    net.mine_until_swept([COINS - PUSH - HTLC - FEES, COINS + PUSH + HTLC - FEES]);
}

/// We offer an HTLC to LDK, a side force-closes, and LDK takes the HTLC on chain or lets it time out.
fn force_close_with_our_htlc(we_close: bool, claimed: bool) {
    let net = Net::start();
    let funding = net.open(net.ours(), net.ldk());
    let (hash, preimage) = net.hold(net.ours(), &net.ldk);
    net.force_close(if we_close { net.ours() } else { net.ldk() }, funding);
    if claimed {
        net.ldk.claim(&preimage);
    }
    let [ours, theirs] = shares(true);
    net.mine_until_swept(if claimed { [ours - HTLC, theirs + HTLC] } else { [ours, theirs] });
    net.assert_outcome(net.ours(), hash, claimed.then_some(&preimage));
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_force_close_and_ldk_claims_our_htlc() {
    force_close_with_our_htlc(true, true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn we_force_close_and_our_htlc_times_out() {
    force_close_with_our_htlc(true, false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_force_closes_and_claims_our_htlc() {
    force_close_with_our_htlc(false, true);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn ldk_force_closes_and_our_htlc_times_out() {
    force_close_with_our_htlc(false, false);
}

#[test]
#[cfg_attr(not(has_bitcoind), ignore = "no bitcoind: set BITCOIND_EXE or PATH")]
fn an_ldk_without_anchors_is_served_by_static_remotekey() {
    let mut options = LdkOptions::default();
    options.config.channel_handshake_config.negotiate_anchors_zero_fee_htlc_tx = false;
    let net = Net::start_with(&options, &[]);
    let (first, second) = (net.open(net.ldk(), net.ours()), net.open(net.ours(), net.ldk()));
    net.pay_both_ways();
    // Channels without anchors pay for their HTLC transactions themselves.
    let (hash, preimage) = net.hold(net.ours(), &net.ldk);
    net.ours().close(first, Close::Force);
    net.ldk().close(second, Close::Force);
    net.confirm_close(first);
    net.confirm_close(second);
    net.ldk.claim(&preimage);
    // One gave what the other gave; the HTLC went over one of the two.
    net.mine_until_swept([COINS - HTLC - FEES, COINS + HTLC - FEES]);
    net.ours().must_be_paid(hash, net.ldk(), HTLC_MSAT);
}
