// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A thread for work that blocks, which is waited for with `join`.
///
/// Whoever starts one joins it, once.
package struct BlockingThread {
    private let thread: pthread_t

    /// Traps when the system has no thread left.
    package init(_ body: @escaping @Sendable () -> Void) {
        let box = Unmanaged.passRetained(Body(body))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Body>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, box.toOpaque())
        precondition(status == 0, "no thread can be started: raise the limit on processes")
        self.thread = thread
    }

    package func join() { pthread_join(thread, nil) }

    private final class Body {
        let run: @Sendable () -> Void

        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
}
