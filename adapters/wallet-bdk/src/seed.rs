//! From words or entropy to the wallet's keys.
use std::fmt;

use bdk_wallet::KeychainKind;
use bdk_wallet::bip39::Mnemonic;
use bdk_wallet::template::Bip84;
use bitcoin::bip32::{ChildNumber, DerivationPath, Xpriv};
use bitcoin::secp256k1::SecretKey;
use bitcoin::{Network, NetworkKind};
use lightning_traits::Secp;

use crate::error::WalletError;

/// What the wallet is made from. Words and the entropy that they encode make the same wallet.
#[derive(Clone)]
pub enum WalletSeed {
    /// 16 to 32 bytes of entropy, without passphrase.
    Entropy(Vec<u8>),
    /// BIP 39 words.
    Mnemonic {
        /// The words.
        words: String,
        /// Their passphrase, often empty.
        passphrase: String,
    },
}

impl fmt::Debug for WalletSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WalletSeed(..)")
    }
}

impl WalletSeed {
    /// The words that restore the wallet; the passphrase is not among them.
    pub fn words(&self) -> Result<String, WalletError> {
        Ok(self.mnemonic()?.to_string())
    }

    fn mnemonic(&self) -> Result<Mnemonic, WalletError> {
        let mnemonic = match self {
            Self::Entropy(entropy) => Mnemonic::from_entropy(entropy),
            Self::Mnemonic { words, .. } => Mnemonic::parse(words),
        };
        mnemonic.map_err(|error| WalletError::Mnemonic(error.to_string()))
    }

    pub(crate) fn keys(&self, network: Network) -> Result<WalletKeys, WalletError> {
        let passphrase = match self {
            Self::Entropy(_) => "",
            Self::Mnemonic { passphrase, .. } => passphrase,
        };
        let seed = self.mnemonic()?.to_seed(passphrase);
        let master = Xpriv::new_master(network, &seed).map_err(|e| WalletError::Mnemonic(e.to_string()))?;
        Ok(WalletKeys { master, network })
    }
}

/// The master key, for descriptors and for signing what bdk does not build.
#[derive(Clone)]
pub(crate) struct WalletKeys {
    master: Xpriv,
    network: Network,
}

impl WalletKeys {
    /// The BIP 84 descriptor of a keychain: m/84'/coin'/0'/(0 or 1)/*.
    pub(crate) fn descriptor(&self, keychain: KeychainKind) -> Bip84<Xpriv> {
        Bip84(self.master, keychain)
    }

    /// The key of one address.
    pub(crate) fn secret(
        &self,
        secp: &Secp,
        keychain: KeychainKind,
        index: u32,
    ) -> Result<SecretKey, WalletError> {
        let coin = match NetworkKind::from(self.network) {
            NetworkKind::Main => 0,
            NetworkKind::Test => 1,
        };
        let branch = match keychain {
            KeychainKind::External => 0,
            KeychainKind::Internal => 1,
        };
        let library = |error: bitcoin::bip32::Error| WalletError::Library(error.to_string());
        let hardened = |number| ChildNumber::from_hardened_idx(number).map_err(library);
        let normal = |number| ChildNumber::from_normal_idx(number).map_err(library);
        let path: DerivationPath =
            vec![hardened(84)?, hardened(coin)?, hardened(0)?, normal(branch)?, normal(index)?].into();
        Ok(self.master.derive_priv(secp, &path).map_err(library)?.private_key)
    }
}
