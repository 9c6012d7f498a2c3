//! What std would bring: an allocator and a panic handler. The heap grows and is never given back: the probe
//! is linked, not run.
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

const HEAP_BYTES: usize = 1 << 20;

struct Bump {
    heap: core::cell::UnsafeCell<[u8; HEAP_BYTES]>,
    used: AtomicUsize,
}

// SAFETY: `used` hands out each byte of the heap once.
unsafe impl Sync for Bump {}

// SAFETY: the blocks are inside the heap, aligned and disjoint.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.heap.get().cast::<u8>();
        let reserve = layout.size() + layout.align();
        let start = self.used.fetch_add(reserve, Ordering::Relaxed);
        if start + reserve > HEAP_BYTES {
            return null_mut();
        }
        let block = base.wrapping_add(start);
        block.wrapping_add(block.align_offset(layout.align()))
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Bump = Bump { heap: core::cell::UnsafeCell::new([0; HEAP_BYTES]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(feature = "planted-import")]
mod planted {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn planted() -> u32;
    }

    /// What the check must notice.
    #[unsafe(no_mangle)]
    pub extern "C" fn ask() -> u32 {
        // SAFETY: never called.
        unsafe { planted() }
    }
}
