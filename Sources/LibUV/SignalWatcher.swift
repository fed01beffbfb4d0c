// SPDX-License-Identifier: Apache-2.0

import CLibUV

/// Delivers one signal on the loop's thread (uv_signal_t). Keeps the loop running until closed.
@safe
package final class SignalWatcher {
    private let cell: HandleCell<uv_signal_t>
    private var handler: (() -> Void)?

    package init(loop: EventLoop, signal: Int32, handler: @escaping () -> Void) throws(UVError) {
        let cell = unsafe HandleCell<uv_signal_t>()
        let status = unsafe uv_signal_init(loop.pointer, cell.pointer)
        guard status == 0 else {
            unsafe cell.discard()
            throw UVError(code: status, call: "uv_signal_init")
        }
        unsafe self.cell = unsafe cell
        self.handler = handler
        unsafe cell.adopt(owner: self)
        let started = unsafe uv_signal_start(cell.pointer, signalThunk, signal)
        guard started == 0 else {
            unsafe cell.close()
            throw UVError(code: started, call: "uv_signal_start")
        }
    }

    /// Idempotent, also from inside the handler. The signal has its default meaning again.
    package func close() {
        if handler == nil { return }
        handler = nil
        unsafe cell.close()
    }

    fileprivate func deliver() { handler?() }
}

private func signalThunk(_ handle: UnsafeMutablePointer<uv_signal_t>?, _ signal: Int32) {
    // SAFETY: the cell retains its owner until the close callback.
    unsafe Unmanaged<SignalWatcher>.fromOpaque(handle!.pointee.data!)
        ._withUnsafeGuaranteedRef { $0.deliver() }
}
