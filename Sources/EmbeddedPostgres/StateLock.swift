// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The right to use a state folder, held by one broker: a file lock that the kernel gives back
/// however the process ends.
struct StateLock: ~Copyable {
    private let descriptor: Int32

    init(_ folder: StateFolder) throws(EmbeddedPostgresError) {
        let descriptor = open(folder.lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw .stateFolder(
                path: folder.path, reason: "open lock: \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            let holder = TextFile.read(folder.lockPath)?.prefix { !$0.isNewline }
            throw .inUse(path: folder.path, processID: holder.map(String.init) ?? "unknown")
        }
        let text = Array("\(getpid())\n".utf8)
        ftruncate(descriptor, 0)
        pwrite(descriptor, text, text.count, 0)
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }
}
