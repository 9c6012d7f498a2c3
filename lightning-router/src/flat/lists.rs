//! One list for each node, all of them in one array: a list's items lie side by side, so a search reads them in a row.
//!
//! A list that outgrows its place moves to the end of the array with some room to grow; what it leaves behind is waste,
//! until somebody lays everything out anew.
use alloc::vec::Vec;

/// Where a list lies.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    start: u32,
    len: u32,
    room: u32,
}

impl Place {
    const fn range(self) -> core::ops::Range<usize> {
        let start = self.start as usize;
        start..start.saturating_add(self.len as usize)
    }
}

/// Lists by a small number.
#[derive(Clone, Debug)]
pub(super) struct Lists<T> {
    items: Vec<T>,
    places: Vec<Place>,
    waste: usize,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { items: Vec::new(), places: Vec::new(), waste: 0 }
    }
}

impl<T: Copy + Default> Lists<T> {
    /// Lists of these items, each given with its list: in the order of the lists, and as given within one.
    pub(super) fn laid_out(lists: usize, items: &[(u32, T)]) -> Self {
        let mut places = alloc::vec![Place::default(); lists];
        for (list, _) in items {
            if let Some(place) = places.get_mut(*list as usize) {
                place.room = place.room.saturating_add(1);
            }
        }
        let mut start = 0_u32;
        for place in &mut places {
            place.start = start;
            start = start.saturating_add(place.room);
        }
        let mut all = alloc::vec![T::default(); start as usize];
        for (list, item) in items {
            let Some(place) = places.get_mut(*list as usize) else { continue };
            if let Some(slot) = all.get_mut(place.start.saturating_add(place.len) as usize) {
                *slot = *item;
                place.len = place.len.saturating_add(1);
            }
        }
        Self { items: all, places, waste: 0 }
    }

    /// A list that is known up to this number.
    pub(super) fn reach(&mut self, list: u32) {
        if self.places.len() <= list as usize {
            self.places.resize((list as usize).saturating_add(1), Place::default());
        }
    }

    pub(super) fn of(&self, list: u32) -> &[T] {
        let place = self.places.get(list as usize).copied().unwrap_or_default();
        self.items.get(place.range()).unwrap_or_default()
    }

    /// Where the first item of a list lies.
    pub(super) fn start(&self, list: u32) -> u32 {
        self.places.get(list as usize).map_or(0, |place| place.start)
    }

    pub(super) fn at(&self, slot: u32) -> Option<&T> {
        self.items.get(slot as usize)
    }

    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.items.get_mut(slot as usize)
    }

    /// Adds an item; says where it lies, and whether the others of its list lie elsewhere now.
    pub(super) fn push(&mut self, list: u32, item: T) -> (u32, bool) {
        self.reach(list);
        let end = self.items.len();
        let Some(place) = self.places.get_mut(list as usize) else { return (0, false) };
        let mut moved = false;
        if place.len == place.room {
            // The last list of all grows where it is.
            if place.range().end == end && end > 0 {
                self.items.push(item);
                place.room = place.room.saturating_add(1);
            } else {
                moved = place.len > 0;
                let old = place.range();
                self.waste = self.waste.saturating_add(place.room as usize);
                place.start = end as u32;
                place.room = place.len.saturating_add(place.len >> 1).saturating_add(1);
                self.items.extend_from_within(old);
                self.items.resize(end.saturating_add(place.room as usize), T::default());
            }
        }
        let slot = place.start.saturating_add(place.len);
        place.len = place.len.saturating_add(1);
        if let Some(place) = self.items.get_mut(slot as usize) {
            *place = item;
        }
        (slot, moved)
    }

    /// Takes the item at this slot out; the list's last item takes its slot.
    pub(super) fn remove(&mut self, list: u32, slot: u32) {
        let Some(place) = self.places.get_mut(list as usize).filter(|place| place.len > 0) else { return };
        place.len = place.len.saturating_sub(1);
        let last = place.start.saturating_add(place.len) as usize;
        if last != slot as usize && last < self.items.len() && (slot as usize) < self.items.len() {
            self.items.swap(last, slot as usize);
        }
    }

    /// Whether more is wasted than used.
    pub(super) fn is_wasteful(&self) -> bool {
        self.waste.saturating_mul(2) > self.items.len().saturating_add(64)
    }

    pub(super) fn slots(&self) -> usize {
        self.items.len()
    }

    pub(super) fn memory(&self) -> usize {
        let items = self.items.capacity().saturating_mul(size_of::<T>());
        items.saturating_add(self.places.capacity().saturating_mul(size_of::<Place>()))
    }
}
