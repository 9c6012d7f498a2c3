//! The wallet's one lock.
//!
//! A leaf: nothing foreign is called while it is held. It is not the library's counted lock, since a wallet stands
//! behind `KeysInterface`, which channels may ask while they hold theirs (I7).
use std::sync::{MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// A panic elsewhere does not poison the wallet: bdk's changes are staged whole.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
