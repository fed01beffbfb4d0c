import CLibUV
import Glibc

/// Tells when another process ends (pidfd_open(2), watched with uv_poll_t). Owns the pidfd.
@safe
package final class PeerProcess: FileWatcherDelegate {
    package let processID: Int32
    private let descriptor: Int32
    private let watcher: FileWatcher
    private var onExit: (() -> Void)?

    /// Nil when the process cannot be watched: it is gone already (`isRunning` tells), it is in
    /// another PID namespace, or no descriptor is left. A zombie counts as ended.
    package init?(loop: EventLoop, processID: Int32, onExit: @escaping () -> Void) {
        guard processID > 0 else { return nil }
        let descriptor = pglease_pidfd_open(processID)
        guard descriptor >= 0 else { return nil }
        guard let watcher = try? FileWatcher(loop: loop, descriptor: descriptor) else {
            Descriptor.close(descriptor)
            return nil
        }
        self.processID = processID
        self.descriptor = descriptor
        self.watcher = watcher
        self.onExit = onExit
        watcher.delegate = self
        watcher.watch(.readable)
    }

    package static func isRunning(processID: Int32) -> Bool {
        processID > 0 && (kill(processID, 0) == 0 || errno == EPERM)
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
