// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// Why a process cannot be watched.
package enum PeerProcessError: Error, Equatable, Sendable {
    /// It has ended; another one may have its number.
    case ended
    /// It is not known which one it is, or no descriptor is left.
    case impossible
}

/// Tells when another process ends (pidfd_open(2), watched with uv_poll_t). Owns the pidfd.
@safe
package final class PeerProcess: FileWatcherDelegate {
    private let descriptor: Int32
    private let watcher: FileWatcher
    private var onExit: (() -> Void)?

    /// A zombie counts as ended.
    package init(
        loop: EventLoop, _ process: ProcessIdentity, onExit: @escaping () -> Void
    ) throws(PeerProcessError) {
        guard process.processID > 0, process.isCertain else { throw .impossible }
        let descriptor = pglease_pidfd_open(process.processID)
        guard descriptor >= 0 else { throw errno == ESRCH ? .ended : .impossible }
        // Looked at behind it: a process that has the number now, and is not new, had it then.
        guard process.isStillThere, !ProcessDescriptor.hasEnded(descriptor) else {
            Descriptor.close(descriptor)
            throw .ended
        }
        guard let watcher = try? FileWatcher(loop: loop, descriptor: descriptor) else {
            Descriptor.close(descriptor)
            throw .impossible
        }
        self.descriptor = descriptor
        self.watcher = watcher
        self.onExit = onExit
        watcher.delegate = self
        watcher.watch(.readable)
    }

    /// Idempotent, also from inside the handler.
    package func close() {
        if onExit == nil { return }
        onExit = nil
        watcher.close()
        Descriptor.close(descriptor)
    }

    package func fileReady(_ events: FileEvents, error: UVError?) {
        let handler = onExit
        close()
        handler?()
    }
}
