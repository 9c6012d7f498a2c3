//! What a manager of LDK calls, in memory.
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::Transaction;
use bitcoin::secp256k1::{PublicKey, Secp256k1, Signing, Verification};
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::blinded_path::payment::{BlindedPaymentPath, ReceiveTlvs};
use lightning::chain::ChannelMonitorUpdateStatus;
use lightning::chain::chaininterface::{BroadcasterInterface, ConfirmationTarget, FeeEstimator};
use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate};
use lightning::ln::channel_state::ChannelDetails;
use lightning::onion_message::messenger::{Destination, MessageRouter, OnionMessagePath};
use lightning::routing::router::{InFlightHtlcs, Route, RouteParameters, Router};
use lightning::sign::{InMemorySigner, ReceiveAuthKey};
use lightning::util::logger::{Logger, Record};
use lightning::util::persist::MonitorName;
use lightning::util::ser::Writeable as _;

/// Durable as soon as it is encoded: a disk that takes no time. A monitor is written whole once, at the start.
#[derive(Default)]
pub struct Memory(AtomicU64);

impl Memory {
    fn keep(&self, bytes: &[u8]) {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    /// Bytes up to now.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Persist<InMemorySigner> for Memory {
    fn persist_new_channel(
        &self,
        _: MonitorName,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        self.keep(&monitor.encode());
        ChannelMonitorUpdateStatus::Completed
    }

    fn update_persisted_channel(
        &self,
        _: MonitorName,
        update: Option<&ChannelMonitorUpdate>,
        _: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        if let Some(update) = update {
            self.keep(&update.encode());
        }
        ChannelMonitorUpdateStatus::Completed
    }

    fn archive_persisted_channel(&self, _: MonitorName) {}
}

/// Keeps what is broadcast.
#[derive(Default)]
pub struct Broadcaster(Mutex<Vec<Transaction>>);

impl Broadcaster {
    /// What was broadcast since the last call.
    pub fn take(&self) -> Vec<Transaction> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl BroadcasterInterface for Broadcaster {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        self.0.lock().unwrap().extend(transactions.iter().map(|transaction| (*transaction).clone()));
    }
}

/// Fees that do not move.
pub struct Fees;

impl FeeEstimator for Fees {
    fn get_est_sat_per_1000_weight(&self, target: ConfirmationTarget) -> u32 {
        match target {
            ConfirmationTarget::MinAllowedAnchorChannelRemoteFee
            | ConfirmationTarget::MinAllowedNonAnchorChannelRemoteFee => 253,
            ConfirmationTarget::MaximumFeeEstimate => 10_000,
            _ => 1_000,
        }
    }
}

/// Says nothing.
pub struct Quiet;

impl Logger for Quiet {
    fn log(&self, _: Record<'_>) {}
}

/// Routes are given with each payment.
pub struct NoRoutes;

impl Router for NoRoutes {
    fn find_route(
        &self,
        _: &PublicKey,
        _: &RouteParameters,
        _: Option<&[&ChannelDetails]>,
        _: InFlightHtlcs,
    ) -> Result<Route, &'static str> {
        Err("routes are given with each payment")
    }

    fn create_blinded_payment_paths<T: Signing + Verification>(
        &self,
        _: PublicKey,
        _: Vec<ChannelDetails>,
        _: ReceiveTlvs,
        _: Option<u64>,
        _: &Secp256k1<T>,
    ) -> Result<Vec<BlindedPaymentPath>, ()> {
        Err(())
    }
}

impl MessageRouter for NoRoutes {
    fn find_path(&self, _: PublicKey, _: Vec<PublicKey>, _: Destination) -> Result<OnionMessagePath, ()> {
        Err(())
    }

    fn create_blinded_paths<T: Signing + Verification>(
        &self,
        _: PublicKey,
        _: ReceiveAuthKey,
        _: MessageContext,
        _: Vec<MessageForwardNode>,
        _: &Secp256k1<T>,
    ) -> Result<Vec<BlindedMessagePath>, ()> {
        Err(())
    }
}
