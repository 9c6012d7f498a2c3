//! LDK's `find_route` with its scorer, both as they come.
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::Network as Chain;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::UnsignedChannelUpdate;
use lightning::routing::gossip::{NetworkGraph, NodeId};
use lightning::routing::router::{PaymentParameters, Route, RouteParameters, find_route};
use lightning::routing::scoring::{
    ProbabilisticScorer, ProbabilisticScoringDecayParameters, ProbabilisticScoringFeeParameters,
};
use lightning::types::features::{Bolt11InvoiceFeatures, ChannelFeatures};

use super::data::{Network, Question, Terms};
use super::{Answer, FINAL_CLTV};
use crate::ldk::Quiet;

/// LDK's graph.
pub type Graph = Arc<NetworkGraph<Arc<Quiet>>>;
/// LDK's scorer.
pub type Scorer = ProbabilisticScorer<Graph, Arc<Quiet>>;

/// The router, the scorer, and the keys that they know nodes by.
pub struct Ldk {
    /// The graph.
    pub graph: Graph,
    /// What it has learnt.
    pub scorer: Scorer,
    /// Keys by index.
    pub keys: Vec<PublicKey>,
    params: ProbabilisticScoringFeeParameters,
    log: Arc<Quiet>,
}

impl Ldk {
    /// The whole network.
    #[must_use]
    pub fn new(network: &Network) -> Self {
        let log = Arc::new(Quiet);
        let graph: Graph = Arc::new(NetworkGraph::new(Chain::Bitcoin, log.clone()));
        // Updates are refused that seem older than two weeks.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for channel in &network.channels {
            let ends = channel.nodes.map(|node| NodeId::from_slice(&network.nodes[node].0).unwrap());
            let (scid, features) = (channel.scid.0, ChannelFeatures::empty());
            graph
                .add_channel_from_partial_announcement(
                    scid,
                    Some(channel.capacity_sat),
                    now,
                    features,
                    ends[0],
                    ends[1],
                )
                .unwrap();
            for (side, terms) in (0_u8..).zip(channel.directions) {
                if let Some(terms) = terms {
                    graph.update_channel_unsigned(&update(scid, side, &terms, now as u32)).unwrap();
                }
            }
        }
        let scorer = Scorer::new(ProbabilisticScoringDecayParameters::default(), graph.clone(), log.clone());
        let keys = network.nodes.iter().map(|id| PublicKey::from_slice(&id.0).unwrap()).collect();
        Self { graph, scorer, keys, params: ProbabilisticScoringFeeParameters::default(), log }
    }

    /// A question with the limits that LDK sets by itself, in parts if need be.
    #[must_use]
    pub fn params(&self, payee: usize, amount_msat: u64) -> RouteParameters {
        let mut features = Bolt11InvoiceFeatures::empty();
        features.set_variable_length_onion_required();
        features.set_payment_secret_required();
        features.set_basic_mpp_optional();
        let payment = PaymentParameters::from_node_id(self.keys[payee], FINAL_CLTV.into());
        let payment = payment.with_bolt11_features(features).unwrap();
        RouteParameters::from_payment_params_and_value(payment, amount_msat)
    }

    /// What it answers to these parameters.
    #[must_use]
    pub fn route(&self, payer: usize, params: &RouteParameters) -> Option<Route> {
        let (graph, log) = (&self.graph, self.log.clone());
        find_route(&self.keys[payer], params, graph, None, log, &self.scorer, &self.params, &[42; 32]).ok()
    }

    /// What it answers.
    #[must_use]
    pub fn ask(&self, question: &Question) -> Option<Answer> {
        let params = self.params(question.payee, question.amount_msat);
        let route = self.route(question.payer, &params)?;
        Some(Answer { fee_msat: route.get_total_fees(), parts: route.paths.len() })
    }
}

fn update(scid: u64, side: u8, terms: &Terms, timestamp: u32) -> UnsignedChannelUpdate {
    UnsignedChannelUpdate {
        chain_hash: ChainHash::using_genesis_block_const(Chain::Bitcoin),
        short_channel_id: scid,
        timestamp,
        message_flags: 1,
        channel_flags: side,
        cltv_expiry_delta: terms.delta,
        htlc_minimum_msat: terms.minimum,
        htlc_maximum_msat: terms.maximum,
        fee_base_msat: terms.base,
        fee_proportional_millionths: terms.millionths,
        excess_data: Vec::new(),
    }
}
