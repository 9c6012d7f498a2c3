//! Random small networks: every answer keeps the rules, and is the best where one label a node can find the best.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unreachable,
    reason = "tests"
)]
mod support;

use lightning_router::Router;
use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::interface::RouteFinder;
use lightning_traits::route::{
    ChannelAmount, DirectedChannel, FirstHop, HintHop, NoRoute, Path, RouteAnswer, RouteHint, RouteQuery,
};
use lightning_traits::units::{CltvDelta, Msat};
use proptest::prelude::*;
use support::model::{Edge, Model};
use support::unsigned::{self, Channel};
use support::{Signer, query, scid};

const AMOUNT: u64 = 100_000;

/// One direction: whether there is one, whether it is disabled, then its terms.
#[derive(Clone, Debug)]
struct Terms {
    present: bool,
    disabled: bool,
    minimum: u64,
    maximum: u64,
    base: u32,
    millionths: u32,
    delta: u16,
}

#[derive(Clone, Debug)]
struct World {
    nodes: usize,
    channels: Vec<(usize, usize, [Terms; 2])>,
    /// Private channels into the payee: from, and terms.
    hints: Vec<(usize, Terms)>,
    /// Our own channels: to, least, most.
    first_hops: Vec<(usize, u64, u64)>,
    /// Which of all directions are excluded.
    excluded: Vec<prop::sample::Index>,
}

fn terms(tight: bool) -> impl Strategy<Value = Terms> {
    let limits = if tight {
        (0..AMOUNT * 2, AMOUNT / 2..AMOUNT * 3).boxed()
    } else {
        (0..AMOUNT, AMOUNT * 1_000..AMOUNT * 1_001).boxed()
    };
    (prop::bool::weighted(0.9), prop::bool::weighted(0.1), limits, 0..2_000_u32, 0..50_000_u32, 0..200_u16)
        .prop_map(|(present, disabled, (minimum, maximum), base, millionths, delta)| {
            let maximum = maximum.max(minimum);
            Terms { present, disabled, minimum, maximum, base, millionths, delta }
        })
}

fn world(tight: bool) -> impl Strategy<Value = World> {
    (3..8_usize).prop_flat_map(move |nodes| {
        let channel = (0..nodes, 0..nodes, [terms(tight), terms(tight)]);
        let hop = (1..nodes, 0..AMOUNT, AMOUNT / 2..AMOUNT * 100);
        (
            Just(nodes),
            prop::collection::vec(channel, 3..20),
            prop::collection::vec((0..nodes, terms(tight)), 0..3),
            prop::collection::vec(hop, 0..3),
            prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        )
            .prop_map(|(nodes, channels, hints, first_hops, excluded)| {
                let channels = channels.into_iter().filter(|(a, b, _)| a != b).collect();
                World { nodes, channels, hints, first_hops, excluded }
            })
    })
}

fn name(node: usize) -> String {
    format!("node {node}")
}

impl World {
    /// The router that knows the public channels, the question from node 0 to the last one, and all its edges.
    fn build(&self) -> (Router, RouteQuery, Model) {
        let ids: Vec<NodeId> = (0..self.nodes).map(|node| Signer::new().id(&name(node))).collect();
        let mut query = query(&name(0), &name(self.nodes - 1), AMOUNT);
        query.max_total_cltv = u32::MAX;
        let mut edges = Vec::new();
        let mut channels = Vec::new();
        for (at, (one, two, terms)) in self.channels.iter().enumerate() {
            let id = scid(100, at as u32);
            let (one, two) = if ids[*one] < ids[*two] { (*one, *two) } else { (*two, *one) };
            let mut channel =
                Channel { scid: id, nodes: [ids[one], ids[two]], capacity: None, directions: [None, None] };
            for (side, (from, to)) in [(one, two), (two, one)].into_iter().enumerate() {
                let terms = &terms[side];
                let edge = edge(id, &name(from), &name(to), terms);
                let ours = from == 0 && !self.first_hops.is_empty();
                if terms.present && !terms.disabled && !ours {
                    edges.push(edge.clone());
                }
                channel.directions[side] = terms.present.then_some((edge, terms.disabled));
            }
            channels.push(channel);
        }
        let router = unsigned::router(Signer::new().id("us"), &channels);
        self.add_hints(&mut query, &mut edges);
        self.add_first_hops(&mut query, &mut edges);
        for index in self.excluded.iter().filter(|_| !edges.is_empty()) {
            let edge = index.get(&edges);
            query.excluded.push(DirectedChannel { scid: edge.scid, from: edge.from });
        }
        (router, query, Model::new(edges))
    }

    fn add_hints(&self, query: &mut RouteQuery, edges: &mut Vec<Edge>) {
        for (at, (from, terms)) in self.hints.iter().enumerate() {
            let hop = HintHop {
                node: Signer::new().id(&name(*from)),
                scid: scid(200, at as u32),
                fee_base: Msat::new(u64::from(terms.base)),
                fee_proportional_millionths: terms.millionths,
                cltv_delta: CltvDelta::new(terms.delta),
            };
            let useless = *from == self.nodes - 1 || (*from == 0 && !self.first_hops.is_empty());
            if !useless {
                let unlimited = Terms { minimum: 0, maximum: u64::MAX, ..terms.clone() };
                edges.push(edge(hop.scid, &name(*from), &name(self.nodes - 1), &unlimited));
            }
            query.hints.push(RouteHint { hops: vec![hop] });
        }
    }

    fn add_first_hops(&self, query: &mut RouteQuery, edges: &mut Vec<Edge>) {
        for (at, (to, minimum, maximum)) in self.first_hops.iter().enumerate() {
            let hop = FirstHop {
                node: Signer::new().id(&name(*to)),
                scid: scid(300, at as u32),
                htlc_minimum: Msat::new(*minimum),
                sendable: Msat::new(*maximum),
                htlc_cost: Msat::ZERO,
            };
            let free = Terms {
                present: true,
                disabled: false,
                minimum: *minimum,
                maximum: *maximum,
                base: 0,
                millionths: 0,
                delta: 0,
            };
            edges.push(edge(hop.scid, &name(0), &name(*to), &free));
            query.first_hops.push(hop);
        }
    }
}

fn edge(scid: ShortChannelId, from: &str, to: &str, terms: &Terms) -> Edge {
    let signer = Signer::new();
    Edge {
        scid,
        from: signer.id(from),
        to: signer.id(to),
        minimum: terms.minimum,
        maximum: terms.maximum,
        capacity: terms.maximum,
        base: u64::from(terms.base),
        millionths: u64::from(terms.millionths),
        delta: u32::from(terms.delta),
    }
}

fn find(router: &Router, query: &RouteQuery) -> Result<Path, NoRoute> {
    match router.find_route(query.clone()) {
        RouteAnswer::Ready(Ok(route)) => Ok(route.paths.into_iter().next().unwrap()),
        RouteAnswer::Ready(Err(why)) => Err(why),
        RouteAnswer::InProgress => panic!("the router answers at once"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// With limits that never bind, the answer is the cheapest of all paths, or the quickest where that is asked.
    #[test]
    fn finds_the_best_of_all_paths(world in world(false)) {
        let (router, mut query, _) = world.build();
        // The limits of our own channels do bind.
        for hop in &mut query.first_hops {
            hop.htlc_minimum = Msat::ZERO;
            hop.sendable = Msat::MAX;
        }
        let model = {
            let mut free = world.clone();
            free.first_hops.iter_mut().for_each(|hop| (hop.1, hop.2) = (0, u64::MAX));
            let (_, same, model) = free.build();
            prop_assert_eq!(&same, &query);
            model
        };
        let all = model.all_paths(&query);
        let (cheapest, quickest) = (all.iter().map(|p| p.fee).min(), all.iter().map(|p| p.delay).min());
        match find(&router, &query) {
            Ok(path) => prop_assert_eq!(Some(model.check(&query, &path).unwrap().fee), cheapest),
            Err(why) => prop_assert!(all.is_empty(), "{} but {:?}", why, all),
        }
        let (Some(cheapest), Some(quickest)) = (cheapest, quickest) else { return Ok(()) };
        query.max_fee = Msat::new(cheapest);
        prop_assert_eq!(model.check(&query, &find(&router, &query).unwrap()).unwrap().fee, cheapest);
        if let Some(less) = cheapest.checked_sub(1) {
            query.max_fee = Msat::new(less);
            let why = NoRoute::TooExpensive { fee: Msat::new(cheapest), limit: Msat::new(less) };
            prop_assert_eq!(find(&router, &query), Err(why));
        }
        query.max_fee = Msat::MAX;
        query.max_total_cltv = quickest;
        prop_assert_eq!(model.check(&query, &find(&router, &query).unwrap()).unwrap().delay, quickest);
        query.max_total_cltv = quickest - 1;
        prop_assert_eq!(find(&router, &query), Err(NoRoute::TooSlow { limit: quickest - 1 }));
    }

    /// Whatever the limits: an answer keeps them all, and a reason does not contradict itself.
    #[test]
    fn every_answer_keeps_every_limit(
        world in world(true),
        max_fee in prop_oneof![Just(u64::MAX), 0..AMOUNT / 5],
        max_cltv in prop_oneof![Just(u32::MAX), 0..600_u32],
        amount in prop_oneof![Just(AMOUNT), 1..AMOUNT * 2, Just(u64::MAX / 2), Just(u64::MAX)],
    ) {
        let (router, mut query, model) = world.build();
        query.max_fee = Msat::new(max_fee);
        query.max_total_cltv = max_cltv;
        query.amount = Msat::new(amount);
        let within = |price: &support::model::Price| price.fee <= max_fee && price.delay <= max_cltv;
        match find(&router, &query) {
            Ok(path) => {
                let price = model.check(&query, &path).unwrap();
                prop_assert!(model.all_paths(&query).contains(&price));
            }
            Err(NoRoute::TooExpensive { fee, limit }) => prop_assert!(fee > limit && limit.to_msat() == max_fee),
            Err(NoRoute::TooSlow { limit }) => prop_assert_eq!(limit, max_cltv),
            Err(NoRoute::NoFirstHop { needed, sendable }) => prop_assert!(sendable < needed),
            Err(NoRoute::NoCapacity { .. }) => {
                // One label a node: a path may be missed that only a larger amount opens, or that is dearer and slower
                // up to a node than another that its channels then do not carry. A single hop is never missed.
                prop_assert!(!model.all_paths(&query).iter().any(|price| within(price) && price.hops == 1));
            }
            Err(NoRoute::UnknownPayee) => prop_assert!(model.all_paths(&query).is_empty()),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    /// In parts, whatever the limits: an answer keeps them all, and whatever one path can do is done by one.
    #[test]
    fn every_answer_in_parts_keeps_every_limit(
        world in world(true),
        max_fee in prop_oneof![Just(u64::MAX), 0..AMOUNT / 2],
        max_cltv in prop_oneof![Just(u32::MAX), 0..600_u32],
        amount in prop_oneof![Just(AMOUNT), 1..AMOUNT * 8, Just(u64::MAX / 2), Just(u64::MAX)],
        max_parts in 2..8_u16,
        used in prop::collection::vec((any::<prop::sample::Index>(), 0..AMOUNT), 0..4),
    ) {
        let (router, mut query, mut model) = world.build();
        query.max_fee = Msat::new(max_fee);
        query.max_total_cltv = max_cltv;
        query.amount = Msat::new(amount);
        query.max_parts = max_parts;
        for (index, amount) in used {
            let Some((channel, left)) = model.shrink(&index, amount) else { continue };
            if query.first_hops.iter().any(|hop| hop.scid == channel.scid) || left % 2 == 0 {
                query.limits.retain(|limit| limit.channel != channel);
                query.limits.push(ChannelAmount { channel, amount: Msat::new(left) });
            } else if !query.limits.iter().any(|limit| limit.channel == channel) {
                query.in_use.retain(|used| used.channel != channel);
                query.in_use.push(ChannelAmount { channel, amount: Msat::new(model.used(channel)) });
            }
        }
        match router.find_route(query.clone()) {
            RouteAnswer::Ready(Ok(route)) => {
                let prices = model.check_route(&query, &route).unwrap();
                prop_assert_eq!(prices.len(), route.paths.len());
            }
            RouteAnswer::Ready(Err(why)) => {
                prop_assert!(!matches!(why, NoRoute::Pointless), "{:?}", why);
                let single = RouteQuery { max_parts: 1, ..query.clone() };
                prop_assert!(find(&router, &single).is_err());
            }
            RouteAnswer::InProgress => prop_assert!(false),
        }
    }
}
