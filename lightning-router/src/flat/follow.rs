//! How the flat graph follows the graph of gossip: the graph says which channels were touched.
use alloc::vec::Vec;

use lightning_traits::units::Msat;

use super::{FlatChannel, FlatGraph};
use crate::graph::{ChannelInfo, Graph, Touched};

impl FlatGraph {
    /// The channels of a graph of gossip.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let channels = graph.channels_from(lightning_traits::id::ShortChannelId(0));
        let mut flat = Self::build(channels.filter_map(|channel| flat_channel(graph, channel)));
        for node in graph.nodes().filter(|node| !node.forwards) {
            flat.set_forwards(&node.id, false);
        }
        flat
    }

    /// Takes over what has changed in the graph since the last call; says whether all numbers are new.
    pub(crate) fn follow(&mut self, graph: &mut Graph) -> bool {
        let touched = match graph.take_touched() {
            Touched::Some(touched) => touched,
            Touched::All => {
                *self = Self::of(graph);
                return true;
            }
        };
        for scid in touched {
            let Some(channel) = graph.channel(scid) else {
                self.remove_channel(scid);
                continue;
            };
            let Some(flat) = flat_channel(graph, channel) else { continue };
            // A channel may have gone and come again with other ends, after a reorganisation.
            let ends: Vec<_> =
                self.ends_of(scid).into_iter().flatten().filter_map(|end| self.node_id(end)).collect();
            if !ends.is_empty() && ends != flat.nodes {
                self.remove_channel(scid);
            }
            self.set_channel(&flat);
            for id in flat.nodes {
                let forwards = graph.node(&id).is_none_or(|node| node.forwards);
                self.set_forwards(&id, forwards);
            }
        }
        false
    }
}

/// A channel as a path sees it: without terms if it is spent, or asks for what we do not know. BOLT 7: "MUST NOT attempt to
/// route messages through the channel".
fn flat_channel(graph: &Graph, channel: &ChannelInfo) -> Option<FlatChannel> {
    let is_usable = channel.spent.is_none() && channel.usable;
    let direction = |side: usize| channel.policy(side).filter(|_| is_usable).cloned();
    Some(FlatChannel {
        scid: channel.scid,
        nodes: graph.nodes_of(channel)?,
        capacity: channel.capacity.map(Msat::from_amount),
        directions: [direction(0), direction(1)],
    })
}
