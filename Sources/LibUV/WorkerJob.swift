// SPDX-License-Identifier: Apache-2.0

import CLibUV

extension EventLoop {
    /// Runs `work` on a thread of libuv's pool and then `completion`, with what it answered, on the
    /// loop's thread (uv_queue_work). A job cannot be taken back: `completion` checks whether its
    /// question still matters.
    package func submit<Output: Sendable>(
        _ work: @escaping @Sendable () -> Output, then completion: @escaping (Output) -> Void
    ) throws(UVError) {
        let job = TypedWorkerJob(loop: self, work: work, completion: completion)
        let request = UnsafeMutablePointer<uv_work_t>.allocate(capacity: 1)
        unsafe request.pointee.data = Unmanaged.passRetained(job).toOpaque()
        let status = unsafe uv_queue_work(pointer, request, performThunk, completeThunk)
        guard status == 0 else {
            unsafe Unmanaged<WorkerJob>.fromOpaque(request.pointee.data!).release()
            unsafe request.deallocate()
            throw UVError(code: status, call: "uv_queue_work")
        }
        pendingRequests += 1
    }
}

/// A job as the C callbacks see it. `perform` runs on a worker thread, `complete` on the loop's;
/// libuv's queue orders the two.
private class WorkerJob {
    func perform() { preconditionFailure("a worker job has no work") }
    func complete() { preconditionFailure("a worker job has no completion") }
}

private final class TypedWorkerJob<Output: Sendable>: WorkerJob {
    private let loop: EventLoop
    private let work: @Sendable () -> Output
    private let completion: (Output) -> Void
    private var output: Output?

    init(
        loop: EventLoop, work: @escaping @Sendable () -> Output,
        completion: @escaping (Output) -> Void
    ) {
        self.loop = loop
        self.work = work
        self.completion = completion
    }

    override func perform() { output = work() }

    override func complete() {
        loop.pendingRequests -= 1
        guard let output else { preconditionFailure("a worker job ended without its work") }
        completion(output)
    }
}

private func performThunk(_ request: UnsafeMutablePointer<uv_work_t>?) {
    // SAFETY: submit retained the job; completeThunk, which comes later, releases it.
    unsafe Unmanaged<WorkerJob>.fromOpaque(request!.pointee.data!)
        ._withUnsafeGuaranteedRef { $0.perform() }
}

private func completeThunk(_ request: UnsafeMutablePointer<uv_work_t>?, _ status: Int32) {
    // SAFETY: the balance of passRetained in submit; libuv is done with the request.
    let job = unsafe Unmanaged<WorkerJob>.fromOpaque(request!.pointee.data!).takeRetainedValue()
    unsafe request!.deallocate()
    job.complete()
}
