// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The messages of a batch of source transactions, in order, until the destinations have them.
///
/// A transaction is kept whole before a lease is taken, so that no lease waits for a source. What
/// goes beyond `memoryLimit` bytes is kept in a file without a name, which ends with the process.
final class TransactionSpool {
    private let memoryLimit: Int
    private var messages: [[UInt8]] = []
    private(set) var byteCount = 0
    private(set) var count = 0
    private var file: UnsafeMutablePointer<FILE>?

    init(memoryLimit: Int) { self.memoryLimit = memoryLimit }

    deinit { closeFile() }

    var isEmpty: Bool { count == 0 }

    var isOnDisk: Bool { file != nil }

    /// Throws ``SpoolFailure`` when the disk does not take it.
    func append(_ message: [UInt8]) throws(SpoolFailure) {
        count += 1
        byteCount += message.count
        if file == nil, byteCount <= memoryLimit {
            messages.append(message)
            return
        }
        let file = try openFile()
        var length = UInt32(message.count)
        guard fwrite(&length, 4, 1, file) == 1,
            message.isEmpty || fwrite(message, message.count, 1, file) == 1
        else { throw SpoolFailure(errno) }
    }

    /// All messages in the order in which they came; may be read several times.
    func readAll(_ body: ([UInt8]) throws -> Void) throws {
        for message in messages { try body(message) }
        guard let file else { return }
        guard fflush(file) == 0, fseek(file, 0, SEEK_SET) == 0 else { throw SpoolFailure(errno) }
        for _ in messages.count..<count {
            var length: UInt32 = 0
            guard fread(&length, 4, 1, file) == 1 else { throw SpoolFailure(errno) }
            var message = [UInt8](repeating: 0, count: Int(length))
            guard message.isEmpty || fread(&message, message.count, 1, file) == 1 else {
                throw SpoolFailure(errno)
            }
            try body(message)
        }
    }

    func removeAll() {
        messages.removeAll(keepingCapacity: true)
        byteCount = 0
        count = 0
        closeFile()
    }

    private func openFile() throws(SpoolFailure) -> UnsafeMutablePointer<FILE> {
        if let file { return file }
        // In TMPDIR, like every temporary file.
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var path = Array("\(folder)/pglease-spool-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        guard descriptor >= 0 else { throw SpoolFailure(errno) }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        unlink(path)
        guard let opened = fdopen(descriptor, "w+") else {
            let reason = errno
            close(descriptor)
            throw SpoolFailure(reason)
        }
        file = opened
        return opened
    }

    private func closeFile() {
        if let file { fclose(file) }
        file = nil
    }
}

/// The temporary file of a large transaction could not be written or read.
struct SpoolFailure: Error, CustomStringConvertible {
    let reason: String

    init(_ number: Int32) { reason = String(cString: strerror(number)) }

    var description: String {
        "a transaction that is too large for memory could not be kept on disk (\(reason)): "
            + "make room in TMPDIR"
    }
}
