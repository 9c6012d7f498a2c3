//! However channels come, change and go: the arrays hold what a graph of the same channels, built anew, holds.
use std::collections::BTreeMap;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::{CltvDelta, Msat};
use proptest::prelude::*;

use super::{Edge, FlatChannel, FlatGraph};
use crate::graph::Policy;

#[derive(Clone, Debug)]
enum Step {
    Set { scid: u64, ends: (u8, u8), capacity: Option<u64>, terms: [Option<(u64, bool)>; 2] },
    Remove { scid: u64 },
    Forwards { node: u8, forwards: bool },
}

fn id(node: u8) -> NodeId {
    NodeId([node; 33])
}

fn policy((fee, disabled): (u64, bool)) -> Policy {
    Policy {
        timestamp: fee as u32,
        disabled,
        cltv_delta: CltvDelta::new(40),
        htlc_minimum: Msat::new(1),
        htlc_maximum: Msat::new(1_000_000),
        fee_base: Msat::new(fee),
        fee_proportional_millionths: 100,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let terms = || prop::option::of((0..1_000_u64, prop::bool::weighted(0.2)));
    let set = (0..40_u64, 0..12_u8, 1..12_u8, prop::option::of(1_000..2_000_000_u64), [terms(), terms()]);
    prop_oneof![
        5 => set.prop_map(|(scid, one, gap, capacity, terms)| {
            // The ends of a channel never change, but with its id.
            let (one, two) = (((one + scid as u8) % 12).min(10), gap);
            Step::Set { scid, ends: (one, (one + two).min(11)), capacity, terms }
        }),
        2 => (0..40_u64).prop_map(|scid| Step::Remove { scid }),
        1 => (0..12_u8, any::<bool>()).prop_map(|(node, forwards)| Step::Forwards { node, forwards }),
    ]
}

/// All edges by channel and start, with everything that a search reads.
fn edges(graph: &FlatGraph) -> BTreeMap<(ShortChannelId, NodeId), (NodeId, String)> {
    let mut all = BTreeMap::new();
    for to in 0..graph.node_slots() as u32 {
        let (first, list) = graph.into(to);
        for (slot, edge) in (first..).zip(list) {
            let (scid, from) = (graph.scid_of(edge.direction).unwrap(), graph.node_id(edge.from).unwrap());
            let terms = format!("{:?} {}", Edge { direction: 0, from: 0, ..*edge }, graph.capacity_of(edge));
            let known = all.insert((scid, from), (graph.node_id(to).unwrap(), terms));
            assert!(known.is_none(), "an edge twice");
            let (at, _) = graph.slot_of(scid, edge.from).unwrap();
            assert_eq!(at, slot, "where the channel thinks its edge is");
        }
    }
    all
}

/// What leaves a node is what leads from it to others.
fn check_out(graph: &FlatGraph) {
    let mut count = 0;
    for from in 0..graph.node_slots() as u32 {
        for out in graph.out(from) {
            let (first, list) = graph.into(out.to);
            assert!((first..first + list.len() as u32).contains(&out.slot));
            assert_eq!(graph.edge(out.slot).unwrap().from, from);
            count += 1;
        }
    }
    assert_eq!(count, graph.counts().edges);
}

proptest! {
    #[test]
    fn changes_lead_where_building_leads(steps in prop::collection::vec(step(), 1..200)) {
        let mut graph = FlatGraph::default();
        let mut channels: BTreeMap<u64, FlatChannel> = BTreeMap::new();
        let mut still: BTreeMap<NodeId, bool> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Set { scid, ends: (one, two), capacity, terms } => {
                    let nodes = channels.get(&scid).map_or([id(one), id(two)], |known| known.nodes);
                    let channel = FlatChannel {
                        scid: ShortChannelId(scid),
                        nodes,
                        capacity: capacity.map(Msat::new),
                        directions: terms.map(|terms| terms.map(policy)),
                    };
                    graph.set_channel(&channel);
                    channels.insert(scid, channel);
                }
                Step::Remove { scid } => {
                    graph.remove_channel(ShortChannelId(scid));
                    channels.remove(&scid);
                }
                Step::Forwards { node, forwards } => {
                    if channels.values().any(|channel| channel.nodes.contains(&id(node))) {
                        graph.set_forwards(&id(node), forwards);
                        still.insert(id(node), forwards);
                    }
                }
            }
            // A node that is gone is forgotten.
            still.retain(|node, _| channels.values().any(|channel| channel.nodes.contains(node)));
        }
        let mut anew = FlatGraph::build(channels.values().cloned());
        for (node, forwards) in &still {
            anew.set_forwards(node, *forwards);
        }
        prop_assert_eq!(edges(&graph), edges(&anew));
        check_out(&graph);
        check_out(&anew);
        let (one, two) = (graph.counts(), anew.counts());
        prop_assert_eq!((one.nodes, one.channels, one.edges), (two.nodes, two.channels, two.edges));
        let nodes: std::collections::BTreeSet<NodeId> =
            channels.values().flat_map(|channel| channel.nodes).collect();
        prop_assert_eq!(one.nodes, nodes.len());
        prop_assert!(nodes.iter().all(|node| graph.node_id(graph.node_number(node).unwrap()) == Some(*node)));
    }
}

#[test]
fn memory_follows_the_size_however_often_lists_grow() {
    let mut graph = FlatGraph::default();
    let channel = |scid: u64, at: u64| FlatChannel {
        scid: ShortChannelId(scid),
        nodes: [id(1), id(2 + (at % 200) as u8)],
        capacity: None,
        directions: [Some(policy((1, false))), Some(policy((2, false)))],
    };
    for round in 0..20_u64 {
        for at in 0..1_000 {
            graph.set_channel(&channel(round * 1_000 + at, at));
        }
        for at in 0..1_000 {
            graph.remove_channel(ShortChannelId(round * 1_000 + at));
        }
    }
    let counts = graph.counts();
    assert_eq!((counts.nodes, counts.channels, counts.edges), (0, 0, 0));
    assert!(counts.memory < 1_000_000, "{counts:?}");
    assert!(graph.node_slots() <= 201);
}
