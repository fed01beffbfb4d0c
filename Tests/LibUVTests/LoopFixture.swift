// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibUV
import Testing

/// Runs a body with its own loop and then demands that everything was closed.
func withLoop(_ body: (EventLoop) throws -> Void) throws {
    let loop = try EventLoop()
    do {
        try body(loop)
    } catch {
        _ = loop.close()
        throw error
    }
    #expect(loop.close(), "a handle was left open")
}

/// Two connected Unix sockets. Closes what `take` did not hand over.
final class SocketPair {
    private(set) var left: Int32
    private(set) var right: Int32

    init() throws {
        var pair: [Int32] = [-1, -1]
        try #require(
            socketpair(
                AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0)
        (left, right) = (pair[0], pair[1])
    }

    func closeRight() {
        if right >= 0 { close(right) }
        right = -1
    }

    func closeLeft() {
        if left >= 0 { close(left) }
        left = -1
    }

    deinit {
        closeLeft()
        closeRight()
    }
}

/// Writes down what a watcher says, and does something about it.
final class Recorder: FileWatcherDelegate {
    var events: [FileEvents] = []
    var errors: [UVError] = []
    var react: (FileEvents) -> Void = { _ in }

    func fileReady(_ events: FileEvents, error: UVError?) {
        self.events.append(events)
        if let error { errors.append(error) }
        react(events)
    }
}

func write(_ text: String, to descriptor: Int32) -> IOResult {
    Array(text.utf8).withUnsafeBytes { Descriptor.write(descriptor, from: $0) }
}

func read(from descriptor: Int32, atMost limit: Int = 4096) -> (IOResult, String) {
    var buffer = [UInt8](repeating: 0, count: limit)
    let result = buffer.withUnsafeMutableBytes { Descriptor.read(descriptor, into: $0) }
    guard case .bytes(let count) = result else { return (result, "") }
    return (result, String(decoding: buffer[..<count], as: UTF8.self))
}

/// A folder that goes away with its files.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/pglease-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
        path = String(cString: try #require(made))
    }

    deinit {
        guard let folder = opendir(path) else { return }
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            unlink("\(path)/\(name)")
        }
        closedir(folder)
        rmdir(path)
    }
}
