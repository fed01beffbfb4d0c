// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc

/// SIGTERM and SIGINT: the first asks for a graceful end, the second ends the process at once.
///
/// Child processes inherit an ignored signal: whoever starts one sets these back to their default.
final class TerminationSignals {
    private var sources: [any DispatchSourceSignal] = []

    init(onFirst action: @escaping @Sendable () -> Void) {
        let queue = DispatchQueue(label: "signals")
        let count = Count()
        for number in [SIGTERM, SIGINT] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                count.value += 1
                if count.value > 1 { _exit(128 + number) }
                action()
            }
            source.resume()
            sources.append(source)
        }
    }

    deinit {
        for source in sources { source.cancel() }
    }

    /// Touched on the queue of the signals only.
    private final class Count: @unchecked Sendable {
        var value = 0
    }
}
