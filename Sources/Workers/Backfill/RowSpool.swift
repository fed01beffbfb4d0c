// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Rows of a table without a key, in a file that has no name: it is gone when this is, however the
/// process ends.
///
/// Written by one task, then read by one: never by two at once.
final class RowSpool: Sendable {
    private let descriptor: Int32

    /// Throws ``SpoolError``.
    init(folder: String) throws {
        let path = "\(folder)/pglease-spool-\(UInt64.random(in: .min ... .max))"
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        if descriptor < 0 { throw SpoolError("making a file in \(folder)") }
        if unlink(path) != 0 { throw SpoolError("removing the name of a file in \(folder)") }
    }

    deinit { close(descriptor) }

    func clear() throws {
        if ftruncate(descriptor, 0) != 0 || lseek(descriptor, 0, SEEK_SET) != 0 {
            throw SpoolError("truncating the spool")
        }
    }

    func append(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress!, $0.count) }
            if count > 0 {
                rest.removeFirst(count)
            } else if errno != EINTR {
                throw SpoolError("writing rows to the spool")
            }
        }
    }

    func rewind() throws {
        if lseek(descriptor, 0, SEEK_SET) != 0 { throw SpoolError("reading the spool") }
    }

    /// Nil at the end.
    func next() throws -> [UInt8]? {
        while true {
            var count = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: 65536) { buffer, initialized in
                count = read(descriptor, buffer.baseAddress!, buffer.count)
                initialized = max(0, count)
            }
            if count > 0 { return bytes }
            if count == 0 { return nil }
            if errno != EINTR { throw SpoolError("reading the spool") }
        }
    }
}

/// The file system refuses.
struct SpoolError: Error, CustomStringConvertible {
    let description: String

    init(_ what: String) {
        description = "\(what) failed: \(String(cString: strerror(errno)))"
    }
}
