//! libFuzzer wrapper of `lightning_fuzz::wire::features`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    lightning_fuzz::wire::features(data);
});
