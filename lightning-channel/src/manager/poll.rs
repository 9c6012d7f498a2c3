//! What is polled from others: receipts and refusals, events of monitors, late routes; and the clock.
use lightning_traits::interface::{Environment, ManyChannelMonitor as _, RouteFinder as _};
use lightning_traits::sphinx::Failure;

use super::ChannelManager;
use super::work::Work;
use crate::channel::FeeQuotes;

impl<E: Environment> ChannelManager<E> {
    /// Takes whatever monitors and route finder have for us, until nothing moves. Call it whenever they may have something:
    /// when a write became durable, when the chain moved, now and then.
    pub fn process(&self) {
        {
            let mut table = self.table.lock();
            if table.is_polling {
                // Whoever polls looks once more.
                table.poll_again = true;
                return;
            }
            table.is_polling = true;
        }
        let polling = Polling(self);
        loop {
            let moved = self.poll_once();
            self.run();
            let mut table = self.table.lock();
            if !moved && !table.poll_again {
                table.is_polling = false;
                drop(table);
                core::mem::forget(polling);
                return;
            }
            table.poll_again = false;
        }
    }

    fn poll_once(&self) -> bool {
        let mut moved = false;
        while let Some(receipt) = self.env.monitors().next_receipt() {
            self.on_receipt(receipt);
            moved = true;
        }
        while let Some(refusal) = self.env.monitors().next_refusal() {
            self.on_refusal(refusal);
            moved = true;
        }
        while self.poll_monitor_event() {
            moved = true;
        }
        while let Some((id, answer)) = self.env.routes().next_route() {
            self.on_route(id, answer);
            moved = true;
        }
        moved
    }

    fn poll_monitor_event(&self) -> bool {
        let after = self.table.lock().monitor_cursor;
        let Some((id, event)) = self.env.monitors().next_monitor_event(after) else { return false };
        let slot = {
            let mut table = self.table.lock();
            table.monitor_cursor = table.monitor_cursor.max(Some(id));
            table.channel(event.channel())
        };
        match slot {
            Some(slot) => self.step(&slot, |channel, cx| channel.on_monitor_event(cx, id, &event)),
            // A channel that is done with: nothing can follow from it.
            None => self.env.monitors().acknowledge_monitor_event(id),
        }
        true
    }

    /// Some time has passed: about a minute is meant.
    pub fn timer_tick(&self) {
        let fees = FeeQuotes::ask(self.env.fees());
        let (slots, late) = {
            let mut table = self.table.lock();
            table.now.fees = fees;
            let late = table.inbound.on_tick();
            let payments = table.payments.on_tick();
            // Time that has passed counts over restarts.
            table.records.is_due |= table.payments.count_time();
            table.work.extend(payments.into_iter().map(Work::Advance));
            (table.all(), late)
        };
        self.end_late_probes();
        self.drop_unread();
        self.judge_fundings(true);
        for slot in slots {
            self.step(&slot, |channel, cx| {
                channel.timer_tick(cx);
                // What a slow signer left unsigned.
                let _waits = channel.commit(cx);
                channel.flush(cx);
            });
        }
        // BOLT 4: "MUST fail all HTLCs in the HTLC set with `mpp_timeout`".
        let keys = late.into_iter().flat_map(|late| late.parts);
        self.queue(keys.map(|(key, _)| Work::FailBack(key, Failure::MppTimeout)));
        self.unpark(true);
        self.process();
        self.run();
    }
}

/// A panic of something foreign must not keep all others from polling.
struct Polling<'a, E: Environment>(&'a ChannelManager<E>);

impl<E: Environment> Drop for Polling<'_, E> {
    fn drop(&mut self) {
        self.0.table.lock().is_polling = false;
    }
}
