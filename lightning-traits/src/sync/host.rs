//! The lock on hosts with `std`: `std::sync::Mutex`, not poisoned by a panic, counted in debug builds (I7).
#![allow(clippy::disallowed_types, reason = "the one place that wraps std's lock (I7)")]
use core::ops::{Deref, DerefMut};

/// A mutual exclusion lock; see the module for the rule it enforces.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

/// Exclusive access until dropped.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    inner: std::sync::MutexGuard<'a, T>,
    _held: Held,
}

#[derive(Debug)]
struct Held;

#[cfg(debug_assertions)]
std::thread_local! {
    static HELD: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

impl Held {
    fn enter() -> Self {
        #[cfg(debug_assertions)]
        HELD.with(|held| {
            assert_eq!(held.get(), 0, "I7: a lock is taken while another is held");
            held.set(1);
        });
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        HELD.with(|held| held.set(0));
    }
}

/// Checks, in debug builds, that this thread holds no lock: called before any foreign trait (I7).
pub fn assert_unlocked() {
    #[cfg(debug_assertions)]
    HELD.with(|held| assert_eq!(held.get(), 0, "I7: a foreign trait is called while a lock is held"));
}

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits for the lock. A panic of another holder does not poison it: every step leaves a whole state (I5).
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = Held::enter();
        let inner = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        MutexGuard { inner, _held: held }
    }

    /// The value, without the lock.
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lock_after_another_is_allowed() {
        let (a, b) = (Mutex::new(1), Mutex::new(2));
        let first = *a.lock();
        assert_eq!(first + *b.lock(), 3);
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_lock_inside_another_is_caught() {
        let outcome = std::panic::catch_unwind(|| {
            let (a, b) = (Mutex::new(1), Mutex::new(2));
            let _first = a.lock();
            let _second = b.lock();
        });
        assert!(outcome.is_err());
    }
}
