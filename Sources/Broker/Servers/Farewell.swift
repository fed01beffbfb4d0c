// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibPQ
import LibUV

/// A connection that was told to end, until PostgreSQL has ended it.
///
/// A backend keeps its socket open to its very end, after it has left `pg_stat_activity` and given back its
/// place among `max_connections`: the end of file says that the place is free. Before that a connection
/// opened in its stead would be one too many.
///
/// Owns a descriptor of its own for the socket: libpq closes the other one.
final class Farewell: FileWatcherDelegate {
    let deadline: Instant
    private let descriptor: Int32
    private let watcher: FileWatcher
    private var ended: (() -> Void)?
    private var isClosed = false

    /// nil: no descriptor is left, so nothing can be waited for. To be made before libpq closes its own.
    init?(of descriptor: Int32, loop: EventLoop, deadline: Instant) {
        guard let copy = Descriptor.duplicate(descriptor) else { return nil }
        do throws(UVError) {
            watcher = try FileWatcher(loop: loop, descriptor: copy)
        } catch {
            Descriptor.close(copy)
            return nil
        }
        self.descriptor = copy
        self.deadline = deadline
    }

    /// Terminate has been sent. `ended` is called once, later, unless `close` comes first.
    func wait(until ended: @escaping () -> Void) {
        self.ended = ended
        watcher.delegate = self
        watcher.watch(.readable)
    }

    /// Idempotent.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        ended = nil
        watcher.close()
        Descriptor.close(descriptor)
    }

    func fileReady(_ events: FileEvents, error: UVError?) {
        if error == nil, !isAtItsEnd() { return }
        let ended = ended
        close()
        ended?()
    }

    /// What it still says (a notice, TLS's own goodbye) is of no use to anybody; who goes on saying things has a
    /// bound for each turn of the loop, and is heard again in the next.
    private func isAtItsEnd() -> Bool {
        var words = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        for _ in 0..<Self.readsInTurn {
            let result = withUnsafeMutableBytes(of: &words) {
                Descriptor.read(descriptor, into: $0)
            }
            switch result {
            case .bytes: continue
            case .wouldBlock: return false
            case .closed, .failed: return true
            }
        }
        return false
    }

    private static let readsInTurn = 16
}
