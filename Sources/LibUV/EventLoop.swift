// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// One libuv loop: owns the `uv_loop_t`, is used by one thread, and outlives all its handles.
///
/// Invariant: `close()` has answered true before the object goes; it can only do so when every
/// handle was closed and every job has ended, which makes it the leak test of the tests.
@safe
package final class EventLoop {
    let pointer: UnsafeMutablePointer<uv_loop_t>
    /// Jobs and look-ups that libuv still holds.
    var pendingRequests = 0
    private var beforeWait: BeforeWaitHook?
    private var isClosed = false

    package init() throws(UVError) {
        let cell = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)
        let status = unsafe uv_loop_init(cell)
        guard status == 0 else {
            unsafe cell.deallocate()
            throw UVError(code: status, call: "uv_loop_init")
        }
        unsafe pointer = cell
    }

    deinit {
        precondition(isClosed, "an event loop was dropped without close()")
        unsafe pointer.deallocate()
    }

    /// Nanoseconds of the monotonic clock (uv_hrtime); every deadline of this module is on it.
    package var now: Int64 { EventLoop.now }

    package static var now: Int64 { Int64(truncatingIfNeeded: uv_hrtime()) }

    /// Runs until no handle or job is left, or until `stop()` (uv_run, UV_RUN_DEFAULT).
    package func run() { turn(UV_RUN_DEFAULT) }

    /// Waits for events once (UV_RUN_ONCE).
    package func runOnce() { turn(UV_RUN_ONCE) }

    /// Takes the events that are there, without waiting (UV_RUN_NOWAIT).
    package func runNoWait() { turn(UV_RUN_NOWAIT) }

    /// Makes `run()` return after this turn (uv_stop). From the loop's thread only.
    package func stop() {
        unsafe uv_stop(pointer)
    }

    /// Called in every turn just before the loop waits; what it arms or closes counts for this
    /// wait already. One handler per loop; it does not keep the loop running.
    package func onBeforeWait(_ handler: @escaping () -> Void) {
        beforeWait?.close()
        beforeWait = BeforeWaitHook(loop: self, handler: handler)
    }

    /// Runs the close callbacks that are due, waits for jobs that are under way, and closes the
    /// loop. False when a handle is still open: close it and call again; or when `patience` (nil: endless)
    /// is over and jobs are not (`hasJobs`).
    package func close(patience: Duration? = nil) -> Bool {
        if isClosed { return true }
        beforeWait?.close()
        beforeWait = nil
        let limit = patience.map { now + Int64($0 / .nanoseconds(1)) }
        while pendingRequests > 0 {
            guard let limit else {
                runOnce()
                continue
            }
            if now >= limit { return false }
            runNoWait()
            _ = usleep(1000)
        }
        // A close callback may close another handle: more than one pass, but a leak ends it.
        for _ in 0..<16 {
            runNoWait()
            if unsafe uv_loop_close(pointer) == 0 {
                isClosed = true
                return true
            }
        }
        return false
    }

    /// A job is under way. A thread that blocks in one cannot be stopped.
    package var hasJobs: Bool { pendingRequests > 0 }

    /// The process ends by `_exit(2)` with jobs that nobody can end: the loop stays as it is until then.
    package func abandon() {
        isClosed = true
        _ = unsafe Unmanaged.passRetained(self)
    }

    /// How many threads serve `submit` and `resolve` (libuv's default is 4). It counts for the whole
    /// process and only before the first of them was called.
    package static func setWorkerThreads(_ count: Int) {
        let status = unsafe setenv("UV_THREADPOOL_SIZE", String(count), 1)
        precondition(status == 0, "setenv refused UV_THREADPOOL_SIZE")
    }

    private func turn(_ mode: uv_run_mode) {
        precondition(!isClosed, "an event loop ran after close()")
        // What is left to do is answered again by the next run; nobody needs it here.
        _ = unsafe uv_run(pointer, mode)
    }
}

/// The `uv_prepare_t` behind `EventLoop.onBeforeWait`.
@safe
private final class BeforeWaitHook {
    private let cell: HandleCell<uv_prepare_t>
    private var handler: (() -> Void)?

    init(loop: EventLoop, handler: @escaping () -> Void) {
        unsafe cell = unsafe HandleCell()
        self.handler = handler
        // uv_prepare_init and uv_prepare_start cannot fail for a handler that is not NULL.
        var status = unsafe uv_prepare_init(loop.pointer, cell.pointer)
        unsafe cell.adopt(owner: self)
        status |= unsafe uv_prepare_start(cell.pointer, beforeWaitThunk)
        precondition(status == 0)
        unsafe cell.unreference()
    }

    func run() { handler?() }

    func close() {
        handler = nil
        unsafe cell.close()
    }
}

private func beforeWaitThunk(_ handle: UnsafeMutablePointer<uv_prepare_t>?) {
    // SAFETY: the cell retains its owner until the close callback.
    unsafe Unmanaged<BeforeWaitHook>.fromOpaque(handle!.pointee.data!)
        ._withUnsafeGuaranteedRef { $0.run() }
}
