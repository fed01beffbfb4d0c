// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Glibc
import Synchronization

/// A thread that runs the jobs of the actors that name it as their executor, one after the other,
/// so that what blocks there (libpq, poll) never blocks a thread of Swift's cooperative pool.
///
/// The thread is kept alive by itself until `stop`, and runs what was enqueued before.
package final class ThreadExecutor: SerialExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var isStopping = false
    }

    private let state = Mutex(State())
    private let wakeup = ThreadWakeup()
    /// The process that started the thread: in a forked child there is no such thread.
    package let processID: Int32 = getpid()

    /// Nil when the system has no thread left to give.
    package init?() {
        let context = unsafe Unmanaged.passRetained(self)
        // SAFETY: the thread takes over the reference that is retained here.
        let status = unsafe pglease_start_thread(
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<ThreadExecutor>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        if status != 0 {
            unsafe context.release()
            return nil
        }
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        wakeup.signal()
    }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        unsafe UnownedSerialExecutor(ordinary: self)
    }

    /// Ends the thread once its jobs are done.
    package func stop() {
        state.withLock { $0.isStopping = true }
        wakeup.signal()
    }

    private func run() {
        while true {
            let (jobs, isStopping) = state.withLock { state in
                defer { state.jobs.removeAll(keepingCapacity: true) }
                return (state.jobs, state.isStopping)
            }
            for job in jobs { unsafe job.runSynchronously(on: asUnownedSerialExecutor()) }
            if isStopping, jobs.isEmpty { return }
            if jobs.isEmpty { _ = wakeup.wait(until: nil) }
        }
    }
}

/// Runs one piece of work on a thread of its own, for calls of C that block for as long as they like
/// (PQcancel connects and waits for the other side to hang up).
package final class BackgroundWork: Sendable {
    private let done = Atomic(false)
    private let wakeup = ThreadWakeup()
    private let work: @Sendable () -> Void

    private init(_ work: @escaping @Sendable () -> Void) { self.work = work }

    /// Runs it on the calling thread when the system has no other to give.
    package static func start(_ work: @escaping @Sendable () -> Void) -> BackgroundWork {
        let started = BackgroundWork(work)
        let context = unsafe Unmanaged.passRetained(started)
        // SAFETY: the thread takes over the reference that is retained here.
        let status = unsafe pglease_start_thread(
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<BackgroundWork>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        if status != 0 { unsafe context.takeRetainedValue().run() }
        return started
    }

    /// Blocks until it is done; false when the deadline came first.
    package func wait(until deadline: ContinuousClock.Instant) -> Bool {
        while !done.load(ordering: .acquiring) {
            if !wakeup.wait(until: deadline) { return done.load(ordering: .acquiring) }
        }
        return true
    }

    private func run() {
        work()
        done.store(true, ordering: .releasing)
        wakeup.signal()
    }
}

/// The kernel's number of the calling thread (gettid), as ps and pg_stat_activity's readers know it.
package func currentThreadID() -> Int32 { pglease_thread_id() }

package func currentProcessID() -> Int32 { getpid() }

/// A variable of the environment; nil when it is unset or empty.
package func environmentValue(_ name: String) -> String? {
    // SAFETY: copied at once. Nobody may change the environment of a program with threads.
    guard let value = unsafe getenv(name) else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
}
