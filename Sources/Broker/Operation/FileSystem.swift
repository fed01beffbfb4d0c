// SPDX-License-Identifier: Apache-2.0

package import BrokerConfiguration
import Glibc

/// What the broker reads of the disk by system calls. A configuration's sources are handed these:
/// `BrokerConfiguration` itself makes none.
package enum FileSystem {
    /// Returns a whole file of at most `ConfigurationFile.largestFile` bytes.
    @Sendable
    package static func readBytes(_ path: String) throws(FileReadError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw lastError() }
        defer { close(descriptor) }
        let limit = ConfigurationFile.largestFile
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw lastError()
            }
            if count == 0 { return bytes }
            guard bytes.count + count <= limit else {
                throw FileReadError("the file is larger than \(limit >> 20) MiB")
            }
            bytes += chunk[..<count]
        }
    }

    /// Returns the text at the begin of a file: whole reads until there are `bytes` of it; nil when
    /// it cannot be opened.
    static func head(_ path: String, bytes limit: Int) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while all.count < limit {
            let count = read(descriptor, &chunk, chunk.count)
            if count > 0 { all += chunk[..<count] }
            if count == 0 || (count < 0 && errno != EINTR) { break }
        }
        return String(decoding: all, as: UTF8.self)
    }

    private static func lastError() -> FileReadError {
        FileReadError(String(cString: strerror(errno)))
    }

    /// Returns whether a folder can be written, or can be made because its parent can.
    @Sendable
    package static func canUseFolder(_ folder: String) -> Bool {
        if access(folder, F_OK) == 0 {
            return access(folder, W_OK | X_OK) == 0
        }
        guard let slash = folder.lastIndex(of: "/"), slash != folder.startIndex else {
            return false
        }
        return access(String(folder[..<slash]), W_OK | X_OK) == 0
    }
}
