//! The probe of `cargo xtask nostd` and `cargo xtask wasm`: a program without operating system that calls
//! something of every component. See `xtask/src/probe.rs`.
//!
//! What it returns is of no interest; that it links is.
#![no_std]

extern crate alloc;

mod calls;
mod machine;

/// Runs one call of each component. The host would pass the entropy.
#[unsafe(no_mangle)]
pub extern "C" fn run(entropy: u8) -> usize {
    calls::run([entropy; 32])
}
