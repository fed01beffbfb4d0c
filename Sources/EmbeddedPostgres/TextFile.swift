// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Small files read whole.
enum TextFile {
    private static let maximumLength = 1 << 20

    /// Nil when it cannot be read.
    static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        return read(descriptor, limit: maximumLength)
    }

    /// The last lines of a file that may be large.
    static func tail(_ path: String, lines: Int) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        let length = lseek(descriptor, 0, SEEK_END)
        lseek(descriptor, max(0, length - 16_384), SEEK_SET)
        let text = read(descriptor, limit: 16_384)
        return text.split(separator: "\n").suffix(lines).joined(separator: "\n")
    }

    private static func read(_ descriptor: Int32, limit: Int) -> String {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while all.count < limit {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count > 0 { all += chunk[..<count] }
            if count == 0 || (count < 0 && errno != EINTR) { break }
        }
        return String(decoding: all, as: UTF8.self)
    }
}
