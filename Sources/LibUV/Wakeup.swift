import CLibUV
import Synchronization

/// Lets any thread call a handler on the loop's thread (uv_async_t). Sends that come close
/// together may be answered by one call. Keeps the loop running until closed.
///
/// Invariant: the handle is touched by other threads only under the lock, and only while open.
@safe
package final class Wakeup: @unchecked Sendable {
    private let cell: HandleCell<uv_async_t>
    private let isOpen = Mutex(true)
    /// Of the loop's thread.
    private var handler: (() -> Void)?

    fileprivate init(loop: EventLoop, handler: @escaping () -> Void) throws(UVError) {
        let cell = unsafe HandleCell<uv_async_t>()
        let status = unsafe uv_async_init(loop.pointer, cell.pointer, wakeupThunk)
        guard status == 0 else {
            unsafe cell.discard()
            throw UVError(code: status, call: "uv_async_init")
        }
        unsafe self.cell = unsafe cell
        self.handler = handler
        unsafe cell.adopt(owner: self)
    }

    /// From any thread; nothing happens after `close()`.
    package func send() {
        isOpen.withLock { open in
            if open { precondition(unsafe uv_async_send(cell.pointer) == 0) }
        }
    }

    /// From the loop's thread. Idempotent, also from inside the handler.
    package func close() {
        let wasOpen = isOpen.withLock { open in
            defer { open = false }
            return open
        }
        guard wasOpen else { return }
        handler = nil
        unsafe cell.close()
    }

    fileprivate func wake() { handler?() }
}

extension EventLoop {
    package func makeWakeup(handler: @escaping () -> Void) throws(UVError) -> Wakeup {
        try Wakeup(loop: self, handler: handler)
    }
}

private func wakeupThunk(_ handle: UnsafeMutablePointer<uv_async_t>?) {
    // SAFETY: the cell retains its owner until the close callback.
    unsafe Unmanaged<Wakeup>.fromOpaque(handle!.pointee.data!)
        ._withUnsafeGuaranteedRef { $0.wake() }
}
