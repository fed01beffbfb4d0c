import Glibc

/// Files as they come from the disk: whole, bounded, valid text.
package enum ConfigurationFile {
    static let largestFile = 16 << 20
    static let longestLine = 65_536

    @Sendable
    package static func readBytes(_ path: String) throws(FileReadError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw systemError() }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw systemError()
            }
            if count == 0 { return bytes }
            guard bytes.count + count <= largestFile else {
                throw FileReadError("the file is larger than \(largestFile >> 20) MiB")
            }
            bytes += chunk[..<count]
        }
    }

    private static func systemError() -> FileReadError {
        FileReadError(String(cString: strerror(errno)))
    }

    /// The text of a small file that holds one value: without its last line end.
    static func value(_ bytes: [UInt8]) -> String? {
        var end = bytes.endIndex
        if end > 0, bytes[end - 1] == UInt8(ascii: "\n") { end -= 1 }
        if end > 0, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        guard !bytes[..<end].contains(0) else { return nil }
        return String(validating: bytes[..<end], as: UTF8.self)
    }
}
