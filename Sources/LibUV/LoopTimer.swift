// SPDX-License-Identifier: Apache-2.0

import CLibUV

/// One deadline on the loop's clock (uv_timer_t): fires once for each `arm`, never early.
@safe
package final class LoopTimer {
    private let loop: EventLoop
    private let cell: HandleCell<uv_timer_t>
    private var handler: (() -> Void)?
    private var armed: Int64?
    private var isFiring = false

    package init(loop: EventLoop, handler: @escaping () -> Void) throws(UVError) {
        let cell = unsafe HandleCell<uv_timer_t>()
        let status = unsafe uv_timer_init(loop.pointer, cell.pointer)
        guard status == 0 else {
            unsafe cell.discard()
            throw UVError(code: status, call: "uv_timer_init")
        }
        self.loop = loop
        unsafe self.cell = unsafe cell
        self.handler = handler
        unsafe cell.adopt(owner: self)
    }

    /// What the timer waits for, in nanoseconds of `EventLoop.now`.
    package var deadline: Int64? { armed }

    /// Fires at `deadline` (nanoseconds of `EventLoop.now`), rounded up to libuv's milliseconds; a
    /// deadline that has passed fires in the next turn. Takes the place of an earlier one.
    package func arm(at deadline: Int64) {
        precondition(handler != nil, "a closed timer was armed")
        if armed == deadline { return }
        armed = deadline
        unsafe uv_update_time(loop.pointer)
        let current = Int64(truncatingIfNeeded: unsafe uv_now(loop.pointer))
        // From its own handler a timer waits one millisecond at least: libuv runs what is due
        // again at once, and a deadline that stays in the past would never let the loop go.
        let least: Int64 = isFiring ? 1 : 0
        let wait = max(LoopTimer.milliseconds(roundingUp: deadline) - current, least)
        let status = unsafe uv_timer_start(cell.pointer, timerThunk, UInt64(wait), 0)
        precondition(status == 0, "uv_timer_start refused an open timer")
    }

    package func disarm() {
        if armed == nil { return }
        armed = nil
        _ = unsafe uv_timer_stop(cell.pointer)
    }

    /// Idempotent, also from inside the handler.
    package func close() {
        if handler == nil { return }
        handler = nil
        armed = nil
        unsafe cell.close()
    }

    fileprivate func fire() {
        armed = nil
        isFiring = true
        handler?()
        isFiring = false
    }

    private static func milliseconds(roundingUp nanoseconds: Int64) -> Int64 {
        let (quotient, remainder) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000)
        return remainder > 0 ? quotient + 1 : quotient
    }
}

private func timerThunk(_ handle: UnsafeMutablePointer<uv_timer_t>?) {
    // SAFETY: the cell retains its owner until the close callback.
    unsafe Unmanaged<LoopTimer>.fromOpaque(handle!.pointee.data!)
        ._withUnsafeGuaranteedRef { $0.fire() }
}
