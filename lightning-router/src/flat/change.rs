//! How channels come, change and go.
use alloc::vec::Vec;

use lightning_traits::id::{NodeId, ShortChannelId};
use lightning_traits::units::Msat;

use super::lists::Lists;
use super::{Channel, Edge, FlatChannel, FlatGraph, NO_CAPACITY, NONE, Node, Out};
use crate::graph::Policy;

impl FlatGraph {
    /// A graph of these channels, laid out for them: nodes with many channels lie together.
    #[must_use]
    pub fn build(channels: impl IntoIterator<Item = FlatChannel>) -> Self {
        let mut channels: Vec<FlatChannel> = channels.into_iter().collect();
        channels.sort_by_key(|channel| channel.scid);
        channels.dedup_by_key(|channel| channel.scid);
        let mut graph = Self::with_nodes(&channels);
        let mut edges = Vec::new();
        for channel in &channels {
            let number = graph.put_channel(channel);
            for (side, policy) in (0_u32..).zip(&channel.directions) {
                if let Some((to, edge)) = graph.edge_of(number, side, policy.as_ref()) {
                    edges.push((to, edge));
                }
            }
        }
        graph.lay_out(&edges);
        graph
    }

    /// The nodes of these channels, most channels first.
    fn with_nodes(channels: &[FlatChannel]) -> Self {
        let mut ids: Vec<NodeId> = channels.iter().flat_map(|channel| channel.nodes).collect();
        ids.sort_unstable();
        let mut nodes: Vec<Node> = Vec::new();
        for id in ids {
            match nodes.last_mut().filter(|node| node.id == id) {
                Some(node) => node.channels = node.channels.saturating_add(1),
                None => nodes.push(Node { id, forwards: true, channels: 1 }),
            }
        }
        nodes.sort_by(|one, two| two.channels.cmp(&one.channels).then(one.id.cmp(&two.id)));
        let mut by_id: Vec<u32> = (0..nodes.len() as u32).collect();
        by_id.sort_by_key(|number| nodes.get(*number as usize).map(|node| node.id));
        Self { nodes, by_id, ..Self::default() }
    }

    /// Takes a channel, or what has changed of it.
    pub fn set_channel(&mut self, channel: &FlatChannel) {
        let known = self.place_of_channel(channel.scid).ok().and_then(|at| self.by_scid.get(at).copied());
        let number = match known {
            Some(number) => number,
            None => {
                for id in &channel.nodes {
                    self.add_end(id);
                }
                self.put_channel(channel)
            }
        };
        if let Some(known) = self.channels.get_mut(number as usize) {
            known.capacity = channel.capacity.map_or(NO_CAPACITY, Msat::to_msat);
            known.timestamps = timestamps(channel);
        }
        for (side, policy) in (0_u32..).zip(&channel.directions) {
            let edge = self.edge_of(number, side, policy.as_ref());
            self.set_edge(number, side, edge);
        }
        self.tidy();
    }

    /// Forgets a channel, and nodes that had no other.
    pub fn remove_channel(&mut self, scid: ShortChannelId) {
        let Ok(at) = self.place_of_channel(scid) else { return };
        let number = self.by_scid.remove(at);
        self.set_edge(number, 0, None);
        self.set_edge(number, 1, None);
        self.free_channels.push(number);
        let ends = self.channels.get(number as usize).map(|channel| channel.nodes);
        for end in ends.into_iter().flatten() {
            let Some(node) = self.nodes.get_mut(end as usize) else { continue };
            node.channels = node.channels.saturating_sub(1);
            if node.channels == 0 {
                let id = node.id;
                if let Ok(at) = self.place_of_node(&id) {
                    self.by_id.remove(at);
                }
                self.free_nodes.push(end);
            }
        }
        self.tidy();
    }

    /// Whether a node forwards. BOLT 7, of a node with unknown even feature bits: "MUST NOT route a payment _through_ the
    /// node".
    pub fn set_forwards(&mut self, id: &NodeId, forwards: bool) {
        let Some(number) = self.node_number(id) else { return };
        let Some(node) = self.nodes.get_mut(number as usize).filter(|node| node.forwards != forwards) else {
            return;
        };
        node.forwards = forwards;
        for out in self.out.of(number) {
            if let Some(edge) = self.into.at_mut(out.slot) {
                edge.is_dead_end = !forwards;
            }
        }
    }

    /// A node that has one channel more.
    fn add_end(&mut self, id: &NodeId) {
        let at = match self.place_of_node(id) {
            Ok(at) => {
                let number = self.by_id.get(at).copied().unwrap_or(NONE);
                if let Some(node) = self.nodes.get_mut(number as usize) {
                    node.channels = node.channels.saturating_add(1);
                }
                return;
            }
            Err(at) => at,
        };
        let node = Node { id: *id, forwards: true, channels: 1 };
        let number = put(&mut self.nodes, &mut self.free_nodes, node);
        self.by_id.insert(at, number);
        self.into.reach(number);
        self.out.reach(number);
    }

    /// A new channel whose nodes are there, without edges yet.
    fn put_channel(&mut self, channel: &FlatChannel) -> u32 {
        let nodes = channel.nodes.map(|id| self.node_number(&id).unwrap_or(NONE));
        let new = Channel {
            scid: channel.scid,
            nodes,
            capacity: channel.capacity.map_or(NO_CAPACITY, Msat::to_msat),
            timestamps: timestamps(channel),
            slots: [NONE; 2],
        };
        let at = self.place_of_channel(channel.scid).unwrap_or_else(|at| at);
        let number = put(&mut self.channels, &mut self.free_channels, new);
        self.by_scid.insert(at, number);
        number
    }

    /// The edge of a direction, if it may be used, and the node that it leads to.
    fn edge_of(&self, number: u32, side: u32, policy: Option<&Policy>) -> Option<(u32, Edge)> {
        let policy = policy.filter(|policy| !policy.disabled)?;
        let channel = self.channels.get(number as usize)?;
        let [first, second] = channel.nodes;
        let (from, to) = if side == 0 { (first, second) } else { (second, first) };
        // What gossip tells has four bytes; an own channel's terms are the same message.
        let fee_base = u32::try_from(policy.fee_base.to_msat()).ok()?;
        let maximum = policy.htlc_maximum.to_msat().min(channel.capacity);
        let capacity = if channel.capacity == NO_CAPACITY { maximum } else { channel.capacity };
        let edge = Edge {
            maximum,
            minimum: policy.htlc_minimum.to_msat(),
            from,
            fee_base,
            fee_millionths: policy.fee_proportional_millionths,
            share: Edge::share_of(capacity),
            direction: number.saturating_mul(2).saturating_add(side),
            cltv_delta: policy.cltv_delta.get(),
            is_dead_end: self.nodes.get(from as usize).is_some_and(|node| !node.forwards),
        };
        Some((to, edge))
    }

    fn set_edge(&mut self, number: u32, side: u32, edge: Option<(u32, Edge)>) {
        let Some(channel) = self.channels.get(number as usize) else { return };
        let Some(slot) = channel.slots.get(side as usize).copied() else { return };
        let [first, second] = channel.nodes;
        let (from, to) = if side == 0 { (first, second) } else { (second, first) };
        match edge {
            Some((_, edge)) if slot != NONE => {
                if let Some(known) = self.into.at_mut(slot) {
                    *known = edge;
                }
            }
            Some((to, edge)) => self.add_edge(to, edge),
            None if slot != NONE => self.remove_edge(from, to, slot),
            None => {}
        }
    }

    fn add_edge(&mut self, to: u32, edge: Edge) {
        let (slot, moved) = self.into.push(to, edge);
        self.edges = self.edges.saturating_add(1);
        self.out.push(edge.from, Out { to, slot });
        self.set_slot(edge.direction, slot);
        if moved {
            let start = self.into.start(to);
            for at in start..slot {
                self.moved_to(to, at);
            }
        }
    }

    fn remove_edge(&mut self, from: u32, to: u32, slot: u32) {
        if let Some(edge) = self.into.at(slot) {
            self.set_slot(edge.direction, NONE);
        }
        let place = self.out.of(from).iter().position(|out| out.slot == slot);
        if let Some(at) = place {
            self.out.remove(from, self.out.start(from).saturating_add(at as u32));
        }
        self.into.remove(to, slot);
        self.edges = self.edges.saturating_sub(1);
        let len = self.into.of(to).len() as u32;
        if slot < self.into.start(to).saturating_add(len) {
            self.moved_to(to, slot);
        }
    }

    /// The edge at this slot lay elsewhere before.
    fn moved_to(&mut self, to: u32, slot: u32) {
        let Some(edge) = self.into.at(slot).copied() else { return };
        let old = self.set_slot(edge.direction, slot);
        let start = self.out.start(edge.from);
        let place = self.out.of(edge.from).iter().position(|out| out.to == to && Some(out.slot) == old);
        let out = place.and_then(|at| self.out.at_mut(start.saturating_add(at as u32)));
        if let Some(out) = out {
            out.slot = slot;
        }
    }

    fn set_slot(&mut self, direction: u32, slot: u32) -> Option<u32> {
        let channel = self.channels.get_mut((direction >> 1) as usize)?;
        let place = channel.slots.get_mut((direction & 1) as usize)?;
        Some(core::mem::replace(place, slot))
    }

    /// Lays the lists out anew when more is wasted than used.
    fn tidy(&mut self) {
        if self.into.is_wasteful() || self.out.is_wasteful() {
            let nodes = 0..self.nodes.len() as u32;
            let edges: Vec<(u32, Edge)> =
                nodes.flat_map(|to| self.into.of(to).iter().map(move |edge| (to, *edge))).collect();
            self.lay_out(&edges);
        }
    }

    fn lay_out(&mut self, edges: &[(u32, Edge)]) {
        self.into = Lists::laid_out(self.nodes.len(), edges);
        self.edges = edges.len();
        let mut outs = Vec::with_capacity(edges.len());
        for to in 0..self.nodes.len() as u32 {
            for (slot, edge) in (self.into.start(to)..).zip(self.into.of(to)) {
                outs.push((edge.from, Out { to, slot }, edge.direction));
            }
        }
        for (_, out, direction) in &outs {
            self.set_slot(*direction, out.slot);
        }
        let outs: Vec<(u32, Out)> = outs.into_iter().map(|(from, out, _)| (from, out)).collect();
        self.out = Lists::laid_out(self.nodes.len(), &outs);
    }
}

fn timestamps(channel: &FlatChannel) -> [u32; 2] {
    let [first, second] = &channel.directions;
    [first, second].map(|policy| policy.as_ref().map_or(0, |policy| policy.timestamp))
}

/// Puts a value into a free slot, or behind all.
fn put<T>(slots: &mut Vec<T>, free: &mut Vec<u32>, value: T) -> u32 {
    if let Some(number) = free.pop()
        && let Some(slot) = slots.get_mut(number as usize)
    {
        *slot = value;
        return number;
    }
    slots.push(value);
    (slots.len() as u32).saturating_sub(1)
}
