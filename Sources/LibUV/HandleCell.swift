// SPDX-License-Identifier: Apache-2.0

import CLibUV

/// The heap cell of one libuv handle and the reference that libuv holds on its owner.
///
/// Invariant: once `adopt` ran, owner and cell live until the close callback, which frees both;
/// a callback of libuv may therefore use its owner without retaining it.
@safe
struct HandleCell<Handle> {
    let pointer: UnsafeMutablePointer<Handle>

    /// Memory only; `discard` frees it when the handle's own init function fails.
    init() {
        unsafe pointer = UnsafeMutablePointer<Handle>.allocate(capacity: 1)
    }

    /// Only for a cell that libuv does not know.
    func discard() {
        unsafe pointer.deallocate()
    }

    func adopt(owner: AnyObject) {
        let reference = unsafe Unmanaged.passRetained(owner).toOpaque()
        unsafe uv_handle_set_data(generic, reference)
    }

    /// uv_close. Owner and memory go in the close callback.
    func close() {
        unsafe uv_close(generic, releaseHandle)
    }

    /// Keeps the handle from holding the loop open by itself.
    func unreference() {
        unsafe uv_unref(generic)
    }

    private var generic: UnsafeMutablePointer<uv_handle_t> {
        // SAFETY: every libuv handle begins with the fields of uv_handle_t.
        unsafe UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: uv_handle_t.self)
    }
}

/// The close callback of every handle: the only place where one is freed.
private func releaseHandle(_ handle: UnsafeMutablePointer<uv_handle_t>?) {
    // SAFETY: the balance of adopt(owner:); libuv is done with the memory.
    unsafe Unmanaged<AnyObject>.fromOpaque(handle!.pointee.data!).release()
    unsafe UnsafeMutableRawPointer(handle!).deallocate()
}
