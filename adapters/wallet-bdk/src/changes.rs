//! What the wallet must remember, as bytes.
//!
//! One version byte, then JSON: bdk promises that its change sets read in later versions of itself in a form that
//! names its fields. Changes are appended in order and merged when read; merging one twice changes nothing.
use std::collections::BTreeMap;

use bdk_wallet::ChangeSet;
use bdk_wallet::chain::Merge;
use serde::{Deserialize, Serialize};

use crate::error::WalletError;

const VERSION: u8 = 1;

/// A change to the stored wallet, or all of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Changes {
    pub(crate) bdk: ChangeSet,
    /// Addresses that were given to a label for good, by index.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, u32>,
}

impl Changes {
    pub(crate) fn merge(&mut self, other: Self) {
        self.bdk.merge(other.bdk);
        self.labels.extend(other.labels);
    }

    pub(crate) fn bdk_merge(&mut self, other: &ChangeSet) {
        self.bdk.merge(other.clone());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bdk.is_empty() && self.labels.is_empty()
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, WalletError> {
        let mut bytes = vec![VERSION];
        serde_json::to_writer(&mut bytes, self).map_err(|error| WalletError::Library(error.to_string()))?;
        Ok(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, WalletError> {
        match bytes.split_first() {
            Some((&VERSION, json)) => {
                serde_json::from_slice(json).map_err(|error| WalletError::Damaged(error.to_string()))
            }
            Some((version, _)) => Err(WalletError::Damaged(format!("version {version} is unknown"))),
            None => Err(WalletError::Damaged("it is empty".into())),
        }
    }

    /// What follows from all changes. Where bdk checks a rule by assertion, we check it first: the
    /// bytes come from a file (I9).
    pub(crate) fn merged<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, WalletError> {
        let mut merged = Self::default();
        for bytes in all {
            let next = Self::from_bytes(bytes)?;
            if next.bdk.descriptor.is_some()
                && merged.bdk.descriptor.is_some()
                && (next.bdk.descriptor != merged.bdk.descriptor
                    || next.bdk.change_descriptor != merged.bdk.change_descriptor
                    || next.bdk.network != merged.bdk.network)
            {
                return Err(WalletError::Damaged("it mixes two wallets".into()));
            }
            merged.merge(next);
        }
        Ok(merged)
    }
}
