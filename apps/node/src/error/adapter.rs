//! Errors of the adapters as users meet them: with a code, as one sentence, with what to do.
use lightning_chain_bitcoind::FollowError;
use lightning_net_tokio::NetError;
use lightning_store_redb::StoreError;
use lightning_traits::interface::SourceError;
use lightning_wallet_bdk::WalletError;

use super::{ApiError, Code};

/// The adapters end some of their messages with a second sentence that says what to do.
fn split(code: Code, text: &str) -> ApiError {
    let text = text.trim_end_matches('.');
    let Some((what, todo)) = text.rsplit_once(". ") else { return ApiError::new(code, text) };
    let mut letters = todo.chars();
    let hint = letters.next().map(char::to_lowercase).into_iter().flatten().chain(letters);
    ApiError::new(code, what).hint(hint.collect::<String>())
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        let code = match &error {
            SourceError::WrongNetwork { .. } => Code::WrongNetwork,
            // Cookie, credentials, pruning, and whatever else bitcoind says.
            _ => Code::ChainUnreachable,
        };
        let answer = split(code, &error.to_string());
        match error {
            SourceError::WrongNetwork { .. } => answer.hint(
                "start the node with the bitcoind's --network, or name another bitcoind with --chain-url",
            ),
            _ => answer,
        }
    }
}

impl From<FollowError> for ApiError {
    fn from(error: FollowError) -> Self {
        let text = error.to_string();
        match error {
            FollowError::Source(error) => error.into(),
            FollowError::WrongChain { .. } => {
                split(Code::WrongNetwork, &text).hint("use the --network of the chain that --chain-url names")
            }
            FollowError::UnknownTip { .. } => split(Code::ChainUnreachable, &text).hint(
                "use the chain that this node's data was made with, or, on regtest only, another --dir",
            ),
            _ => split(Code::Internal, &text),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::InUse(_) => Code::DatabaseInUse,
            StoreError::Disk(_) => Code::Disk,
            // A newer format is, for this program, as unreadable as damage.
            _ => Code::DatabaseCorrupt,
        };
        Self::new(code, error.to_string())
    }
}

impl From<NetError> for ApiError {
    fn from(error: NetError) -> Self {
        let code = match &error {
            NetError::AddressInUse { .. } => Code::PortInUse,
            NetError::AddressNotLocal { .. } | NetError::NoPermission { .. } => Code::CannotListen,
            NetError::BadPeerAddress(_) => Code::BadRequest,
            NetError::ShutDown => Code::NotReady,
            _ => Code::PeerUnreachable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<WalletError> for ApiError {
    fn from(error: WalletError) -> Self {
        let text = error.to_string();
        match error {
            WalletError::NotEnough { needed, available } => Self::new(Code::InsufficientFunds, text)
                .hint("receive more with `lnode newaddr`, or wait for confirmations")
                .details(serde_json::json!({
                    "needed_sat": needed.to_sat(),
                    "available_sat": available.to_sat(),
                })),
            WalletError::Dust => Self::new(Code::LimitExceeded, text).hint("send more"),
            WalletError::AddressNetwork(_) => {
                Self::new(Code::WrongNetwork, text).hint("ask the receiver for one of this network")
            }
            WalletError::OtherNetwork(_) | WalletError::OtherSeed => Self::new(Code::WrongNetwork, text)
                .hint("do not mix the files of two nodes; restore this directory from its backup"),
            WalletError::Damaged(_) => Self::new(Code::DatabaseCorrupt, text)
                .hint("restore it from a backup, and do not delete it: the seed beside it holds your money"),
            _ => Self::new(Code::Internal, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::{Amount, Network};

    use super::*;

    #[test]
    fn adapters_speak_in_one_sentence() {
        let cases: Vec<(ApiError, Code, &str)> = vec![
            (
                SourceError::Unreachable { url: "127.0.0.1:8332".into(), reason: "refused".into() }.into(),
                Code::ChainUnreachable,
                "bitcoind at 127.0.0.1:8332 cannot be reached: refused; is it running, and is this its RPC port?",
            ),
            (
                SourceError::WrongNetwork { expected: Network::Signet, found: "main".into() }.into(),
                Code::WrongNetwork,
                "bitcoind follows main, but this node is on signet; start the node",
            ),
            (
                StoreError::InUse("/a/b".into()).into(),
                Code::DatabaseInUse,
                "/a/b is in use by another process",
            ),
            (
                StoreError::Corrupt("/a/b".into(), "bad page".into()).into(),
                Code::DatabaseCorrupt,
                "do not delete it",
            ),
            (
                NetError::AddressInUse { address: "0.0.0.0:9735".into() }.into(),
                Code::PortInUse,
                "0.0.0.0:9735 is in use",
            ),
            (
                WalletError::NotEnough { needed: Amount::from_sat(2), available: Amount::from_sat(1) }.into(),
                Code::InsufficientFunds,
                "`lnode newaddr`",
            ),
        ];
        for (error, code, words) in cases {
            let text = error.to_string();
            assert_eq!(error.code, code, "{text}");
            assert!(text.contains(words), "{text} lacks {words}");
            assert!(!text.contains(". ") && !text.ends_with('.'), "{text}");
        }
    }
}
