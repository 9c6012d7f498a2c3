//! Channel monitors on other machines, and K of N of them behind the interface of one.
//!
//! | | |
//! | --- | --- |
//! | [`RemoteMonitors`] | a [`ManyChannelMonitor`] whose monitors are on a tower: compares on every connection, sends what lacks |
//! | [`MonitorService`] | the tower's side for one client, in front of a [`Backing`]; acknowledges by a signed chain |
//! | [`Quorum`] | K of N members open the gate, the leader among them; freezes or degrades when fewer are up |
//! | [`Towers`], [`Desk`] | bind both sides to the transport's custom messages |
//! | [`wire`] | what is said, as versioned values; what is signed; frames |
//! | [`BlindMonitors`] | a member whose tower keeps blobs that it cannot read; asks for them again and again |
//! | [`RecordPolicy`] | the channels' own records sealed to the tower, or kept from it |
//!
//! Nothing runs by itself here: frames come in and are polled, time is [`RemoteMonitors::timer_tick`], and whoever drives it
//! answers two questions. *Which channel is wanted whole?* ([`RemoteMonitors::next_wanted`]): give it from the leader's store.
//! *What is wrong?* ([`RemoteMonitors::next_alarm`], [`Quorum::next_alarm`]): tell the user. Why it is so: decision record 23.
//!
//! # Invariants
//! - a receipt is given only for what its tower has signed to be durable, or what a local monitor has a receipt for (I3)
//! - every queue has a bound in bytes (I9)
//!
//! # A node with its own disk and one tower, both of which must hold each update
//!
//! ```
//! use std::sync::Arc;
//! use lightning_remote::{
//!     Below, Member, Promise, Quorum, QuorumConfig, RecordPolicy, RemoteConfig, RemoteMonitors, SealKey, Seat, Towers,
//! };
//! use lightning_traits::id::NodeId;
//! use lightning_traits::interface::{CustomMessageHandler, ManyChannelMonitor};
//! use lightning_traits::monitor::StoredChannels;
//! use secp256k1::PublicKey;
//!
//! /// `local` was made from `stored`; `secret` is a child of the seed that serves nothing else.
//! fn guarded<L: ManyChannelMonitor>(
//!     local: L,
//!     stored: &StoredChannels,
//!     (node, tower): (NodeId, PublicKey),
//!     secret: &[u8; 32],
//!     now: u64,
//! ) -> (Quorum<L, Arc<RemoteMonitors>>, Towers) {
//!     // Every step waits for this tower, so what it has is the latest there is.
//!     let promise = Promise::new(&[tower.into()], 1);
//!     let config = RemoteConfig::new(node, tower, RecordPolicy::Sealed(SealKey::new(secret), promise));
//!     let remote = Arc::new(RemoteMonitors::new(config, now, None));
//!     for (channel, stored) in stored {
//!         remote.expect_channel(*channel, stored);
//!     }
//!     // A full tower may publish our commitment: nothing is revoked without it.
//!     let seat = Seat { member: Arc::clone(&remote), is_required: true, is_trusted: false };
//!     let config = QuorumConfig { needed: 2, below: Below::Freeze };
//!     (Quorum::new(local, vec![seat], config, stored), Towers::new([remote]))
//! }
//!
//! # use lightning_traits::id::EventId;
//! # use lightning_traits::monitor::*;
//! # struct Local;
//! # impl ManyChannelMonitor for Local {
//! #     fn add_channel(&self, _: NewMonitor) -> Persist { Persist::InProgress }
//! #     fn update_channel(&self, _: ChannelMonitorUpdate) -> Persist { Persist::InProgress }
//! #     fn next_receipt(&self) -> Option<Receipt> { None }
//! #     fn next_refusal(&self) -> Option<LateRefusal> { None }
//! #     fn next_monitor_event(&self, _: Option<EventId>) -> Option<(EventId, MonitorEvent)> { None }
//! #     fn acknowledge_monitor_event(&self, _: EventId) {}
//! # }
//! # let secp = lightning_traits::Secp::new();
//! # let [node, tower] = [1, 2].map(|byte| secp256k1::SecretKey::from_slice(&[byte; 32]).unwrap().public_key(&secp));
//! let (quorum, towers) = guarded(Local, &vec![], (node.into(), tower), &[7; 32], 1);
//! // The transport has a connection to the tower: the session begins with our hello.
//! assert!(towers.connected(tower.into()));
//! let (to, message_type, _frame) = towers.next_custom_message().unwrap();
//! assert_eq!((to, message_type), (tower.into(), lightning_remote::wire::MESSAGE_TYPE));
//! // Until the tower has answered, gates stay closed, and no peer of these channels should be connected.
//! assert_eq!(quorum.standing().seats, [false]);
//! assert!(quorum.unsettled().is_empty(), "there are no channels yet");
//! ```
//!
//! [`ManyChannelMonitor`]: lightning_traits::interface::ManyChannelMonitor
extern crate alloc;

pub mod blind;
pub mod client;
pub mod quorum;
pub mod seal;
pub mod serve;
pub mod wire;

pub use blind::{BlindAlarm, BlindMonitors, RowStore};
pub use client::{Alarm, Fetched, RemoteConfig, RemoteMonitors, Standing, Towers};
pub use quorum::{Always, Below, Member, Quorum, QuorumAlarm, QuorumConfig, QuorumStanding, Seat};
pub use seal::{Promise, RecordPolicy, SealKey};
pub use serve::{Admission, Backing, Bounds, Desk, MonitorService, Served};
