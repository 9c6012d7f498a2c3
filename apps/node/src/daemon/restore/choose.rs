//! Which of the states that the towers have of a channel is the node's, and whether it can be the last.
//!
//! # Invariants
//! - the newest state that opens is taken; if a tower has signed that it holds a newer one, it is known not to be the last
//! - nothing but what the node itself has sealed proves that a state is the last: neither a tower's word nor a peer's
use lightning_remote::wire::Head;
use lightning_remote::wire::state::head_of;
use lightning_remote::{Fetched, Promise};
use lightning_traits::id::{ChannelId, NodeId};

use crate::error::{ApiError, Code};

/// What one tower has of a channel.
pub(super) struct Offer {
    pub(super) tower: NodeId,
    /// What it has signed to hold.
    pub(super) head: Head,
    /// What it gave, or why it cannot be used.
    pub(super) given: Result<Fetched, String>,
}

/// What is taken of a channel.
pub(super) struct Choice {
    pub(super) fetched: Fetched,
    /// Towers that hold this very state.
    pub(super) held_by: usize,
    /// Why it may not be the last; `None` when it is proven to be.
    pub(super) doubt: Option<String>,
}

/// What a tower gave must be what it has signed to hold.
pub(super) fn as_signed(head: Head, given: Result<Fetched, String>) -> Result<Fetched, String> {
    let fetched = given?;
    let found = head_of(&fetched.stored);
    let differs = matches!((found.name, head.name), (Some(found), Some(signed)) if found != signed);
    if found.id != head.id || differs {
        return Err(format!("the tower has signed update {} and gives {}", head.id, found.id));
    }
    Ok(fetched)
}

/// Chooses; `None` when no tower gives anything that opens.
pub(super) fn choose(channel: ChannelId, offers: &[Offer]) -> Result<Option<Choice>, ApiError> {
    for (at, one) in offers.iter().enumerate() {
        let other = offers.iter().skip(at.saturating_add(1)).find(|other| {
            other.head.id == one.head.id
                && matches!((one.head.name, other.head.name), (Some(one), Some(other)) if one != other)
        });
        if let Some(other) = other {
            let message = format!(
                "towers {} and {} have different states of channel {channel} by the number {}",
                one.tower, other.tower, one.head.id
            );
            return Err(ApiError::new(Code::TowersDisagree, message)
                .hint("leave out the tower that you trust less, and expect the channel to be closed"));
        }
    }
    let usable = || offers.iter().filter_map(|offer| Some((offer, offer.given.as_ref().ok()?)));
    let Some((newest, fetched)) = usable().max_by_key(|(offer, _)| offer.head.id) else { return Ok(None) };
    let signed = offers.iter().map(|offer| offer.head.id).max();
    let held_by = usable().filter(|(offer, _)| offer.head.id == newest.head.id).count();
    // Those that carry one promise are of one time; others may have been left behind long ago.
    let keep = |promise: Promise| usable().filter(|(_, fetched)| fetched.promise == promise).count();
    // A tower that was left out of the list, with a state of then, still carries what was promised then.
    let mut newest_ones = usable().filter(|(offer, _)| offer.head.id == newest.head.id);
    let is_proven = newest_ones.any(|(_, fetched)| fetched.promise.proves(keep(fetched.promise)));
    let doubt = if signed.is_some_and(|signed| signed > newest.head.id) {
        Some("a tower holds a newer state that it does not give, or that does not open".to_owned())
    } else if is_proven {
        None
    } else if fetched.promise.held_by == 0 {
        Some("the node was allowed to go on without its towers (`--max-ahead` above 0)".to_owned())
    } else {
        Some(format!(
            "the node waited for {} of {} towers, and too few of them have answered",
            fetched.promise.held_by, fetched.promise.of
        ))
    };
    Ok(Some(Choice { fetched: fetched.clone(), held_by, doubt }))
}

#[cfg(test)]
mod tests {
    use lightning_remote::wire::Name;
    use lightning_traits::id::UpdateId;
    use lightning_traits::monitor::StoredChannel;
    use lightning_traits::units::BlockHeight;

    use super::*;

    const CHANNEL: ChannelId = ChannelId([7; 32]);

    fn tower(number: u8) -> NodeId {
        NodeId([number; 33])
    }

    fn offer(number: u8, id: u64, promise: Promise) -> Offer {
        let stored = StoredChannel {
            updates: vec![id.to_be_bytes().to_vec()],
            last_update: UpdateId(id),
            ..StoredChannel::default()
        };
        let head = head_of(&stored);
        let fetched = Fetched { stored, seen: BlockHeight::new(1), promise };
        Offer { tower: tower(number), head, given: Ok(fetched) }
    }

    fn taken(offers: &[Offer]) -> (u64, bool) {
        let choice = choose(CHANNEL, offers).unwrap().unwrap();
        (choice.fetched.stored.last_update.0, choice.doubt.is_none())
    }

    fn promise(towers: &[u8], held_by: usize) -> Promise {
        Promise::new(&towers.iter().map(|number| tower(*number)).collect::<Vec<_>>(), held_by)
    }

    #[test]
    fn the_newest_is_taken_and_is_proven_only_by_the_towers_that_were_waited_for() {
        let (both, any, none) = (promise(&[1, 2], 2), promise(&[1, 2], 1), promise(&[1, 2], 0));
        assert_eq!(taken(&[offer(1, 5, both), offer(2, 6, both)]), (6, true));
        assert_eq!(taken(&[offer(1, 5, both)]), (5, true), "the other cannot know of anything that was said");
        assert_eq!(taken(&[offer(1, 5, any)]), (5, false), "the other may");
        assert_eq!(taken(&[offer(1, 5, any), offer(2, 4, any)]), (5, true));
        assert_eq!(taken(&[offer(1, 5, none), offer(2, 5, none)]), (5, false));
    }

    #[test]
    fn a_tower_of_another_time_proves_nothing() {
        let (now, then) = (promise(&[1, 2], 1), promise(&[1, 3], 1));
        assert_eq!(taken(&[offer(1, 9, now), offer(3, 4, then)]), (9, false), "tower 2 is who may know more");
        let left_out = offer(3, 4, promise(&[3], 1));
        assert_eq!(taken(&[offer(1, 9, promise(&[1, 2], 0)), left_out]), (9, false));
        // A tower that is always waited for proves by itself.
        assert_eq!(taken(&[offer(1, 9, promise(&[1], 1)), offer(3, 4, then)]), (9, true));
    }

    #[test]
    fn what_is_held_and_not_given_makes_the_rest_old() {
        let mut newer = offer(2, 6, promise(&[1, 2], 2));
        newer.given = Err("the seal is broken".to_owned());
        assert_eq!(taken(&[offer(1, 5, promise(&[1, 2], 2)), newer]), (5, false));
        let mut only = offer(1, 5, promise(&[1], 1));
        only.given = Err("the seal is broken".to_owned());
        assert!(choose(CHANNEL, &[only]).unwrap().is_none());
    }

    #[test]
    fn two_states_by_one_number_are_refused() {
        let (one, mut other) = (offer(1, 5, promise(&[1, 2], 2)), offer(2, 5, promise(&[1, 2], 2)));
        assert_eq!(taken(&[offer(2, 5, promise(&[1, 2], 2)), offer(1, 5, promise(&[1, 2], 2))]), (5, true));
        other.head.name = Some(Name([9; 32]));
        let refused = choose(CHANNEL, &[one, other]).err().unwrap();
        assert_eq!(refused.code, Code::TowersDisagree);
    }

    #[test]
    fn a_tower_must_give_what_it_has_signed() {
        let Offer { head, given, .. } = offer(1, 5, Promise::NONE);
        assert!(as_signed(head, given.clone()).is_ok());
        let later = Head { id: UpdateId(6), ..head };
        assert!(as_signed(later, given.clone()).is_err());
        assert!(as_signed(Head { name: Some(Name([9; 32])), ..head }, given.clone()).is_err());
        // A snapshot has swallowed the name.
        assert!(as_signed(Head { name: None, ..head }, given).is_ok());
    }
}
