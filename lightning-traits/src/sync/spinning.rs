//! The lock without `std`: spins on an atomic flag.
use core::ops::{Deref, DerefMut};

/// A mutual exclusion lock that spins.
#[derive(Debug, Default)]
pub struct Mutex<T>(spin::Mutex<T>);

/// Exclusive access until dropped.
#[derive(Debug)]
pub struct MutexGuard<'a, T>(spin::MutexGuard<'a, T>);

/// Counts nothing here; hosts with `std` check I7 in debug builds.
pub const fn assert_unlocked() {}

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    /// Spins until the lock is free.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock())
    }

    /// The value, without the lock.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
