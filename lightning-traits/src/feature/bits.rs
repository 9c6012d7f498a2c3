//! The table of known feature bits (BOLT 9, "Assigned Feature Flags"), as data.
//!
//! BOLT 9 leaves the contexts of `ASSUMED` features empty; this table keeps the contexts they had, because
//! peers demand those bits in `init` and in invoices.

/// Where a feature is presented (BOLT 9, "Context").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// `B`: the `allowed_features` of a blinded path.
    BlindedPath,
    /// `C`: `channel_announcement`.
    Channel,
    /// `T`: `channel_type`.
    ChannelType,
    /// `I`: `init`.
    Init,
    /// `9`: BOLT 11 invoices.
    Invoice,
    /// `N`: `node_announcement`.
    Node,
}

impl Context {
    /// The letter of BOLT 9.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::BlindedPath => 'B',
            Self::Channel => 'C',
            Self::ChannelType => 'T',
            Self::Init => 'I',
            Self::Invoice => '9',
            Self::Node => 'N',
        }
    }
}

/// `Variant = even bit, name, contexts, [what BOLT 9 says it depends on], [what peers demand beside it], assumed?;`
macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal, $contexts:literal,
        [$($needs:ident),*], [$($wants:ident),*] $(, $assumed:ident)?;)*) => {
        /// A feature of BOLT 9, or of a proposal that peers ship.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Feature {
            $($(#[$doc])* $name = $bit,)*
        }

        impl Feature {
            /// Every known feature, lowest bit first.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The feature that `bit` belongs to, even or odd.
            #[must_use]
            pub const fn from_bit(bit: u16) -> Option<Self> {
                match bit & !1 {
                    $($bit => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name in BOLT 9.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The letters of the contexts it is presented in.
            #[must_use]
            pub const fn contexts(self) -> &'static str {
                match self {
                    $(Self::$name => $contexts,)*
                }
            }

            /// What must be set with it (BOLT 9, "Dependencies").
            #[must_use]
            pub const fn depends_on(self) -> &'static [Self] {
                match self {
                    $(Self::$name => &[$(Self::$needs),*],)*
                }
            }

            /// What widespread peers also want set with it; not to be demanded of others.
            #[must_use]
            pub const fn peers_want(self) -> &'static [Self] {
                match self {
                    $(Self::$name => &[$(Self::$wants),*],)*
                }
            }

            /// Whether BOLT 9 calls it `ASSUMED`: every node has it, set or not.
            #[must_use]
            pub const fn is_assumed(self) -> bool {
                match self {
                    $(Self::$name => features!(@assumed $($assumed)?),)*
                }
            }
        }
    };
    (@assumed) => { false };
    (@assumed assumed) => { true };
}

features! {
    /// Proves to a peer that it lost data (BOLT 2, "Message Retransmission").
    DataLossProtect = 0, "option_data_loss_protect", "IN", [], [], assumed;
    /// Commits to a shutdown script when the channel opens.
    UpfrontShutdownScript = 4, "option_upfront_shutdown_script", "IN", [], [];
    /// Has gossip worth asking for.
    GossipQueries = 6, "gossip_queries", "IN", [], [];
    /// Understands variable-length onion payloads.
    VarOnion = 8, "var_onion_optin", "IN9", [], [], assumed;
    /// Gossip queries with timestamps and checksums.
    GossipQueriesEx = 10, "gossip_queries_ex", "IN", [], [GossipQueries];
    /// `to_remote` pays to a key that does not change.
    StaticRemoteKey = 12, "option_static_remotekey", "INT", [], [], assumed;
    /// Demands the payment secret of the invoice.
    PaymentSecret = 14, "payment_secret", "IN9", [], [VarOnion], assumed;
    /// Receives payments in several parts.
    BasicMpp = 16, "basic_mpp", "IN9", [PaymentSecret], [];
    /// Opens channels of 2^24 satoshi and more.
    LargeChannel = 18, "option_support_large_channel", "IN", [], [];
    /// Anchor outputs, HTLC transactions without fee.
    Anchors = 22, "option_anchors", "INT", [], [StaticRemoteKey];
    /// Blinded paths.
    RouteBlinding = 24, "option_route_blinding", "IN9", [], [VarOnion];
    /// Segwit versions of the future in `shutdown`.
    ShutdownAnySegwit = 26, "option_shutdown_anysegwit", "IN", [], [];
    /// Channel establishment v2.
    DualFund = 28, "option_dual_fund", "IN", [], [];
    /// Understands `stfu`.
    Quiesce = 34, "option_quiesce", "IN", [], [];
    /// Attribution data in fulfilments and failures.
    AttributionData = 36, "option_attribution_data", "IN9", [], [];
    /// Forwards onion messages.
    OnionMessages = 38, "option_onion_messages", "IN", [], [];
    /// Commitments without fee (proposal; shipped by peers).
    ZeroFeeCommitments = 40, "zero_fee_commitments", "INT", [], [ChannelType];
    /// Stores the backups of peers.
    ProvideStorage = 42, "option_provide_storage", "IN", [], [];
    /// Names the channel type in opening messages.
    ChannelType = 44, "option_channel_type", "IN", [], [], assumed;
    /// Aliases for the ids of channels.
    ScidAlias = 46, "option_scid_alias", "INT", [], [];
    /// Payment metadata in invoices and onions.
    PaymentMetadata = 48, "option_payment_metadata", "9", [], [];
    /// Channels used before they confirm.
    ZeroConf = 50, "option_zeroconf", "INT", [ScidAlias], [];
    /// Takes payments that nobody asked for (bLIP 3).
    Keysend = 54, "keysend", "N", [], [];
    /// Simplified closing.
    SimpleClose = 60, "option_simple_close", "IN", [ShutdownAnySegwit], [];
    /// Replaces the funding transaction of a running channel.
    Splice = 62, "option_splice", "IN", [], [Quiesce];
    /// Taproot channels (proposal; shipped by peers).
    SimpleTaproot = 80, "option_simple_taproot", "INT", [], [Anchors, ChannelType, SimpleClose];
}

impl Feature {
    /// The even bit: compulsory.
    #[must_use]
    pub const fn required_bit(self) -> u16 {
        self as u16
    }

    /// The odd bit: optional.
    #[must_use]
    pub const fn optional_bit(self) -> u16 {
        self as u16 | 1
    }

    /// Whether BOLT 9 presents it in `context`.
    #[must_use]
    pub fn is_in(self, context: Context) -> bool {
        self.contexts().contains(context.letter())
    }
}
