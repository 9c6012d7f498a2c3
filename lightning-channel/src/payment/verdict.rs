//! What a payer concludes from a failed attempt (BOLT 4, "Receiving Failure Codes").
//!
//! # Invariants
//! - a `channel_update` inside a failure counts only when it is signed by the failing node, for the very channel of the path,
//!   and explains the failure; it serves the one payment and nobody else (RELIABILITY F13; `learnt_terms.rs`)
//! - whoever claims to have failed, nothing outside of the path is blamed (RELIABILITY F9)
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use bitcoin::constants::ChainHash;
use lightning_traits::Secp;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::route::{DirectedChannel, Path, PathOutcome};
use lightning_traits::sphinx::{self, ErrorSource, Failure, FailureCode, SharedSecret};

use super::learnt_terms;
use super::onion;
use super::outbound::Lesson;
use crate::commitments::{Outcome, SessionKey};

/// What follows from a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// For the route finder.
    pub(crate) report: PathOutcome,
    /// For this payment.
    pub(crate) lessons: Vec<Lesson>,
    /// The channel blamed.
    pub(crate) channel: Option<ShortChannelId>,
    /// The payee itself refused, for good.
    pub(crate) refused: bool,
    /// For people.
    pub(crate) text: String,
}

/// Who judges: our curve, our chain, our node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) secp: &'a Secp,
    pub(crate) chain: ChainHash,
    pub(crate) payer: NodeId,
}

/// What came back of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    /// What follows, unless it is a success.
    pub(crate) verdict: Option<Verdict>,
    /// How long each of the first nodes of the path held the HTLC, as far as it can be believed, in units of 100 milliseconds.
    pub(crate) hold_times: Vec<u32>,
}

/// Judges the outcome of an attempt along `path`. `secrets` are those of its onion, if they are at hand.
pub(crate) fn judge(
    judge: &Judge<'_>,
    path: &Path,
    session_key: &SessionKey,
    secrets: Option<Vec<SharedSecret>>,
    outcome: &Outcome,
) -> Returned {
    let payer = judge.payer;
    let secrets = || secrets.or_else(|| onion::secrets(judge.secp, path, session_key));
    let verdict = match outcome {
        Outcome::Fulfilled { attribution, .. } => {
            // Without data there is nothing to read, and no need for secrets.
            let data = attribution.clone().and_then(|data| Some((secrets()?, data)));
            let hold_times = data.map(|(secrets, data)| sphinx::verify_fulfilment(&secrets, data));
            return Returned { verdict: None, hold_times: hold_times.unwrap_or_default() };
        }
        Outcome::Failed { reason, attribution } => {
            let Some(secrets) = secrets() else {
                let verdict = Some(unreadable(payer, path, None));
                return Returned { verdict, hold_times: Vec::new() };
            };
            let decoded = sphinx::decode(&secrets, reason.clone(), attribution.clone());
            let verdict = match decoded.source {
                ErrorSource::Hop { hop, failure, .. } => by_hop(judge, path, hop, failure.as_ref()),
                ErrorSource::Unreadable { blamed } => unreadable(payer, path, blamed),
            };
            return Returned { verdict: Some(verdict), hold_times: decoded.hold_times };
        }
        Outcome::Malformed { code, .. } => {
            // Our own peer could not read the onion that we made for it.
            let text = format!("our peer could not read the onion ({})", FailureCode(*code));
            blame_channel(payer, path, 0, true, text)
        }
        Outcome::FailedOnChain {} => {
            blame_channel(payer, path, 0, false, "our own channel was closed".to_string())
        }
    };
    Returned { verdict: Some(verdict), hold_times: Vec::new() }
}

/// The node behind hop `hop` says why.
fn by_hop(judge: &Judge<'_>, path: &Path, hop: usize, failure: Option<&Failure>) -> Verdict {
    let (payer, last) = (judge.payer, path.hops.len().saturating_sub(1));
    let Some(failure) = failure else {
        let text = format!("node {hop} sent a failure that says nothing");
        return blame_node(payer, path, hop, text);
    };
    let (code, text) = (failure.code(), format!("{} at hop {hop}", name(failure)));
    if hop >= last {
        return by_payee(payer, path, failure, text);
    }
    let next = hop.saturating_add(1);
    match failure {
        // The error of a node that could not read the onion, reported by the node before it.
        _ if code.is_bad_onion() => blame_channel(payer, path, next, true, text),
        _ if code.is_node() => blame_node(payer, path, hop, text),
        // A node on the way has no business with codes of the final node.
        Failure::IncorrectOrUnknownPaymentDetails { .. }
        | Failure::FinalIncorrectCltvExpiry { .. }
        | Failure::FinalIncorrectHtlcAmount { .. }
        | Failure::MppTimeout => blame_node(payer, path, hop, text),
        Failure::TemporaryChannelFailure { .. } => {
            let mut verdict = blame_channel(payer, path, next, true, text);
            // It may well carry less.
            if let (Some(channel), Some(hop)) = (directed(payer, path, next), path.hops.get(next)) {
                verdict.lessons = alloc::vec![Lesson::CarriesLess(channel, hop.amount)];
            }
            verdict
        }
        _ if code.is_update() => {
            let mut verdict = blame_channel(payer, path, next, true, text);
            if let Some(terms) = learnt_terms::read(judge, path, next, failure) {
                verdict.lessons = alloc::vec![Lesson::Terms(terms)];
            }
            verdict
        }
        _ => blame_channel(payer, path, next, !code.is_permanent(), text),
    }
}

/// `final_expiry_too_soon`, which BOLT 4 had once: the chain moved while the payment was under way.
const FINAL_EXPIRY_TOO_SOON: FailureCode = FailureCode(17);

/// BOLT 4, "if the _final node_ is returning the error".
fn by_payee(payer: NodeId, path: &Path, failure: &Failure, text: String) -> Verdict {
    let last = path.hops.len().saturating_sub(1);
    match failure {
        // The node before the payee did not forward what the onion said.
        Failure::FinalIncorrectCltvExpiry { .. } | Failure::FinalIncorrectHtlcAmount { .. } => {
            blame_channel(payer, path, last, true, text)
        }
        // Other parts were missing, or it is not the time: nobody's fault on this path.
        Failure::MppTimeout | Failure::TemporaryNodeFailure => blameless(text),
        _ if failure.code() == FINAL_EXPIRY_TOO_SOON => blameless(text),
        _ => Verdict {
            // Everything up to the payee worked.
            report: PathOutcome::Delivered,
            lessons: Vec::new(),
            channel: None,
            refused: true,
            text,
        },
    }
}

/// It may be tried again as it was: the path carried it.
const fn blameless(text: String) -> Verdict {
    let report = PathOutcome::GivenBack;
    Verdict { report, lessons: Vec::new(), channel: None, refused: false, text }
}

/// Nobody signed for the failure. Somebody on the way garbles, and which one is not known; our own channel is not it.
fn unreadable(payer: NodeId, path: &Path, blamed: Option<usize>) -> Verdict {
    let first = blamed.unwrap_or(1).max(1);
    let behind = (first..path.hops.len()).filter_map(|index| directed(payer, path, index));
    Verdict {
        report: PathOutcome::Unreadable,
        lessons: behind.map(Lesson::Avoid).collect(),
        channel: None,
        refused: false,
        text: "the failure could not be read".to_string(),
    }
}

fn blame_channel(payer: NodeId, path: &Path, index: usize, temporary: bool, text: String) -> Verdict {
    Verdict {
        report: PathOutcome::FailedAt { channel: index, temporary },
        lessons: directed(payer, path, index).map(Lesson::Avoid).into_iter().collect(),
        channel: path.hops.get(index).map(|hop| hop.scid),
        refused: false,
        text,
    }
}

/// Both channels of the path that touch the node at the end of hop `hop`.
fn blame_node(payer: NodeId, path: &Path, hop: usize, text: String) -> Verdict {
    let next = hop.saturating_add(1).min(path.hops.len().saturating_sub(1));
    let mut verdict = blame_channel(payer, path, next, true, text);
    if next != hop && hop > 0 {
        verdict.lessons.extend(directed(payer, path, hop).map(Lesson::Avoid));
    }
    verdict
}

/// Channel `index` of the path, in the direction that it was used.
pub(crate) fn directed(payer: NodeId, path: &Path, index: usize) -> Option<DirectedChannel> {
    let from = match index.checked_sub(1) {
        None => payer,
        Some(before) => path.hops.get(before)?.node,
    };
    Some(DirectedChannel { scid: path.hops.get(index)?.scid, from })
}

/// The name in BOLT 4.
fn name(failure: &Failure) -> String {
    let name = match failure {
        Failure::TemporaryNodeFailure => "temporary_node_failure",
        Failure::PermanentNodeFailure => "permanent_node_failure",
        Failure::RequiredNodeFeatureMissing => "required_node_feature_missing",
        Failure::InvalidOnionVersion { .. } => "invalid_onion_version",
        Failure::InvalidOnionHmac { .. } => "invalid_onion_hmac",
        Failure::InvalidOnionKey { .. } => "invalid_onion_key",
        Failure::TemporaryChannelFailure { .. } => "temporary_channel_failure",
        Failure::PermanentChannelFailure => "permanent_channel_failure",
        Failure::RequiredChannelFeatureMissing => "required_channel_feature_missing",
        Failure::UnknownNextPeer => "unknown_next_peer",
        Failure::AmountBelowMinimum { .. } => "amount_below_minimum",
        Failure::FeeInsufficient { .. } => "fee_insufficient",
        Failure::IncorrectCltvExpiry { .. } => "incorrect_cltv_expiry",
        Failure::ExpiryTooSoon { .. } => "expiry_too_soon",
        Failure::IncorrectOrUnknownPaymentDetails { .. } => "incorrect_or_unknown_payment_details",
        Failure::FinalIncorrectCltvExpiry { .. } => "final_incorrect_cltv_expiry",
        Failure::FinalIncorrectHtlcAmount { .. } => "final_incorrect_htlc_amount",
        Failure::ChannelDisabled { .. } => "channel_disabled",
        Failure::ExpiryTooFar => "expiry_too_far",
        Failure::InvalidOnionPayload { .. } => "invalid_onion_payload",
        Failure::MppTimeout => "mpp_timeout",
        Failure::InvalidOnionBlinding { .. } => "invalid_onion_blinding",
        other => return format!("failure {}", other.code()),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use lightning_traits::codec::TlvRecords;
    use lightning_traits::route::RouteHop;
    use lightning_traits::units::{BlockHeight, CltvExpiry, Msat};
    use secp256k1::{PublicKey, SecretKey};

    const SESSION: SessionKey = SessionKey::new([0x41; 32]);

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_slice(&[byte; 32]).unwrap()
    }

    fn node(byte: u8) -> NodeId {
        NodeId::from(PublicKey::from_secret_key(&Secp::new(), &key(byte)))
    }

    /// us -(100)-> 1 -(101)-> 2 -(102)-> 3
    fn path() -> Path {
        let hops = (0..3u8).map(|index| RouteHop {
            node: node(index + 1),
            scid: ShortChannelId(100 + u64::from(index)),
            amount: Msat::new(1_000),
            expiry: CltvExpiry::new(500),
        });
        Path { hops: hops.collect() }
    }

    fn returned(hop: usize, failure: &Failure) -> Verdict {
        let secp = Secp::new();
        let secrets = onion::secrets(&secp, &path(), &SESSION).unwrap();
        let mut reason = sphinx::create(&secrets[hop], failure, &TlvRecords::default());
        for secret in secrets[..hop].iter().rev() {
            sphinx::wrap(secret, &mut reason);
        }
        let outcome = Outcome::Failed { reason, attribution: None };
        judge_of(&secp, &outcome)
    }

    fn judge_of(secp: &Secp, outcome: &Outcome) -> Verdict {
        let judge_ = Judge { secp, chain: ChainHash::REGTEST, payer: node(9) };
        judge(&judge_, &path(), &SESSION, None, outcome).verdict.unwrap()
    }

    fn avoided(verdict: &Verdict) -> Vec<u64> {
        let scid = |lesson: &Lesson| match lesson {
            Lesson::Avoid(channel) => channel.scid.0,
            other => panic!("{other:?}"),
        };
        verdict.lessons.iter().map(scid).collect()
    }

    #[test]
    fn the_channel_behind_the_failing_node_is_blamed() {
        let verdict = returned(1, &Failure::TemporaryChannelFailure { channel_update: vec![1, 2, 3] });
        assert_eq!(verdict.channel, Some(ShortChannelId(102)));
        let channel = DirectedChannel { scid: ShortChannelId(102), from: node(2) };
        assert_eq!(verdict.lessons, [Lesson::CarriesLess(channel, Msat::new(1_000))]);
        assert_eq!(verdict.report, PathOutcome::FailedAt { channel: 2, temporary: true });
        assert!(!verdict.refused);
        let permanent = returned(0, &Failure::UnknownNextPeer);
        assert_eq!(permanent.report, PathOutcome::FailedAt { channel: 1, temporary: false });
        assert_eq!(avoided(&permanent), [101]);
    }

    #[test]
    fn a_payee_for_whom_the_time_is_wrong_may_be_asked_again() {
        let old = Failure::Unknown { code: FINAL_EXPIRY_TOO_SOON, data: Vec::new() };
        for failure in [Failure::MppTimeout, Failure::TemporaryNodeFailure, old] {
            let verdict = returned(2, &failure);
            assert!(!verdict.refused && verdict.lessons.is_empty(), "{failure:?}");
            // It was read, and says that the whole path carried it.
            assert_eq!(verdict.report, PathOutcome::GivenBack, "{failure:?}");
            // From a node on the way it says nothing of the kind.
            assert!(matches!(returned(1, &failure).report, PathOutcome::FailedAt { .. }), "{failure:?}");
        }
        let refused = returned(2, &Failure::PermanentNodeFailure);
        assert!(refused.refused && refused.report == PathOutcome::Delivered);
    }

    #[test]
    fn only_the_payee_can_refuse() {
        let failure = Failure::IncorrectOrUnknownPaymentDetails {
            htlc_msat: Msat::new(1),
            height: BlockHeight::new(2),
        };
        assert!(returned(2, &failure).refused);
        let liar = returned(0, &failure);
        assert!(!liar.refused);
        let channel = DirectedChannel { scid: ShortChannelId(101), from: node(1) };
        assert_eq!(liar.lessons, [Lesson::Avoid(channel)]);
        assert!(!returned(2, &Failure::MppTimeout).refused);
    }

    #[test]
    fn a_failing_node_is_avoided_on_both_sides() {
        let verdict = returned(1, &Failure::TemporaryNodeFailure);
        assert_eq!(avoided(&verdict), [102, 101]);
    }

    #[test]
    fn what_cannot_be_read_blames_everything_but_our_own_channel() {
        let outcome = Outcome::Failed { reason: vec![0; 300], attribution: None };
        let verdict = judge_of(&Secp::new(), &outcome);
        assert_eq!(verdict.report, PathOutcome::Unreadable);
        assert_eq!(avoided(&verdict), [101, 102]);
        let empty = Outcome::Failed { reason: Vec::new(), attribution: None };
        assert_eq!(avoided(&judge_of(&Secp::new(), &empty)), [101, 102]);
    }

    #[test]
    fn hold_times_are_read_from_successes_and_failures_as_far_as_they_are_authentic() {
        let secp = Secp::new();
        let secrets = onion::secrets(&secp, &path(), &SESSION).unwrap();
        let judge_ = Judge { secp: &secp, chain: ChainHash::REGTEST, payer: node(9) };
        // Each node on the way back has held it a little longer.
        let attributed = |upto: usize| {
            let mut data = sphinx::fulfil(&secrets[2], None, 10);
            for hop in (upto..2).rev() {
                data = sphinx::fulfil(&secrets[hop], Some(data), 12 - hop as u32);
            }
            data
        };
        let preimage = lightning_traits::payment::Preimage::new([1; 32]);
        let read = |attribution| {
            let outcome = Outcome::Fulfilled { preimage: preimage.clone(), attribution };
            judge(&judge_, &path(), &SESSION, None, &outcome).hold_times
        };
        assert_eq!(read(Some(attributed(0))), [12, 11, 10]);
        assert_eq!(read(None), Vec::<u32>::new());
        assert_eq!(read(Some(attributed(1))), Vec::<u32>::new(), "the first node passed on what it got");
        let (mut reason, mut data) =
            sphinx::create_attributed(&secrets[2], &Failure::MppTimeout, &TlvRecords::default(), 7);
        for hop in [1, 0] {
            data = sphinx::wrap_attributed(&secrets[hop], &mut reason, Some(data), 9 - hop as u32);
        }
        let outcome = Outcome::Failed { reason: reason.clone(), attribution: Some(data.clone()) };
        let returned = judge(&judge_, &path(), &SESSION, Some(secrets.clone()), &outcome);
        assert_eq!(returned.hold_times, [9, 8, 7]);
        // Somebody spoils the failure: whoever is behind the last honest node is to blame.
        reason[40] ^= 1;
        let outcome = Outcome::Failed { reason, attribution: Some(data) };
        let returned = judge(&judge_, &path(), &SESSION, None, &outcome);
        assert!(returned.hold_times.is_empty());
        assert_eq!(avoided(&returned.verdict.unwrap()), [101, 102]);
    }

    /// Bytes of any length and content, with and without attribution data of any content, from a short and a long path.
    #[test]
    fn f09_whatever_comes_back_nothing_outside_of_the_path_is_blamed() {
        let secp = Secp::new();
        let judge_ = Judge { secp: &secp, chain: ChainHash::REGTEST, payer: node(9) };
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as u8
        };
        let whole = path();
        for hops in 1..=3 {
            let path = Path { hops: whole.hops[..hops].to_vec() };
            for length in (0..400).step_by(13) {
                let reason: Vec<u8> = (0..length).map(|_| byte()).collect();
                let data: Vec<u8> = (0..sphinx::ATTRIBUTION_DATA_LEN).map(|_| byte()).collect();
                let data =
                    <sphinx::AttributionData as lightning_traits::codec::Decode>::from_bytes(&data).ok();
                assert!(data.is_some());
                for attribution in [None, data] {
                    let outcome = Outcome::Failed { reason: reason.clone(), attribution };
                    let returned = judge(&judge_, &path, &SESSION, None, &outcome);
                    let verdict = returned.verdict.unwrap();
                    assert_eq!((verdict.report.clone(), verdict.channel), (PathOutcome::Unreadable, None));
                    assert!(!verdict.refused && returned.hold_times.is_empty());
                    let scids = avoided(&verdict);
                    assert!(scids.iter().all(|scid| (101..100 + hops as u64).contains(scid)), "{scids:?}");
                }
            }
        }
        // A failure that says it is of a node beyond the last is the last one's word.
        assert_eq!(by_hop(&judge_, &whole, 27, Some(&Failure::PermanentNodeFailure)).channel, None);
        assert!(by_hop(&judge_, &whole, usize::MAX, None).lessons.len() <= 2);
    }

    #[test]
    fn what_happened_in_our_own_channel_blames_it() {
        let secp = Secp::new();
        let malformed = Outcome::Malformed { sha256_of_onion: [0; 32], code: 0xc005 };
        for outcome in [malformed, Outcome::FailedOnChain {}] {
            let verdict = judge_of(&secp, &outcome);
            let channel = DirectedChannel { scid: ShortChannelId(100), from: node(9) };
            assert_eq!(verdict.lessons, [Lesson::Avoid(channel)]);
        }
    }
}
