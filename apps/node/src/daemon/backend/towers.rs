//! How the watchtowers stand, and what they hold.
use crate::api::response;
use crate::daemon::node::Inner;

pub(super) fn list(node: &Inner) -> response::TowerList {
    let Some(guards) = node.gate.guards() else { return response::TowerList::default() };
    let towers = guards.seats.iter().map(|seat| {
        let standing = seat.remote.standing();
        response::Tower {
            node_id: seat.id.to_string(),
            address: seat.entry.address.clone(),
            mode: seat.entry.mode.word().to_owned(),
            up: standing.is_up,
            block_height: standing.tip.map_or(0, |(_, height)| height.get()),
            channels: standing.channels as u32,
            behind: standing.behind as u32,
        }
    });
    response::TowerList {
        needed: guards.list.needed as u32,
        max_ahead: guards.list.max_ahead,
        waiting: guards.quorum.standing().waiting as u32,
        towers: towers.collect(),
    }
}

pub(super) fn coverage(node: &Inner) -> response::Coverage {
    let seats = node.gate.guards().map_or(&[][..], |guards| &guards.seats);
    let row = |channel| {
        let monitor = node.monitors.monitor(channel)?;
        let last = monitor.last_update().0;
        // An update counts from 0, so who holds nothing lacks one more than its number.
        let held = |durable: Option<u64>| durable.map_or(0, |durable| durable.saturating_add(1));
        let holds: Vec<u64> =
            seats.iter().map(|seat| held(seat.durable(channel).map(|update| update.0))).collect();
        let all = last.saturating_add(1);
        Some(response::Covered {
            channel_id: channel.to_string(),
            peer_id: monitor.init().peer.to_string(),
            update: last,
            held_by: holds.iter().filter(|held| **held >= all).count() as u32,
            towers: seats.len() as u32,
            blind_from: node.gate.guards().and_then(|guards| guards.blind.covered_from(channel)),
            behind: holds.iter().min().map_or(0, |least| all.saturating_sub(*least)),
        })
    };
    response::Coverage { channels: node.monitors.channels().into_iter().filter_map(row).collect() }
}
