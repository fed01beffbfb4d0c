// SPDX-License-Identifier: Apache-2.0

import LibUV

/// The connection between a broker and the one that takes its place, on the loop: lines, and descriptors with them.
/// Owns its descriptor, and what came over it and was not taken.
final class HandoverChannel: FileWatcherDelegate {
    private let descriptor: Int32
    private let watcher: FileWatcher
    private var unread: [UInt8] = []
    private var unsent: [(bytes: [UInt8], descriptors: [Int32])] = []
    private var taken: [Int32] = []
    private(set) var isClosed = false
    /// Called with each line; not after `close()`.
    private let onLine: ([Substring]) -> Void
    /// Called once, unless it was closed on this side.
    private let onEnd: () -> Void

    /// Takes the descriptor over, also where it throws. `unread` came before.
    init(
        loop: EventLoop, descriptor: Int32, onLine: @escaping ([Substring]) -> Void,
        onEnd: @escaping () -> Void
    ) throws(UVError) {
        self.descriptor = descriptor
        self.onLine = onLine
        self.onEnd = onEnd
        do throws(UVError) {
            watcher = try FileWatcher(loop: loop, descriptor: descriptor)
        } catch {
            Descriptor.close(descriptor)
            throw error
        }
        watcher.delegate = self
        watcher.watch(.readable)
    }

    /// Idempotent.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        watcher.close()
        Descriptor.close(descriptor)
        for one in taken { Descriptor.close(one) }
        for message in unsent { for one in message.descriptors { Descriptor.close(one) } }
        taken = []
        unsent = []
    }

    /// The next descriptor that came: the caller's from here on.
    func takeDescriptor() -> Int32? { taken.isEmpty ? nil : taken.removeFirst() }

    // MARK: Sending

    /// Descriptors that go along are closed here once they are gone.
    func send(_ line: String, _ descriptors: [Int32] = []) {
        guard !isClosed else {
            for one in descriptors { Descriptor.close(one) }
            return
        }
        unsent.append((Array("\(line)\n".utf8), descriptors))
        if unsent.count == 1 { flush() }
    }

    private func flush() {
        while let message = unsent.first {
            let outcome = message.bytes.withUnsafeBytes {
                message.descriptors.isEmpty
                    ? Descriptor.write(descriptor, from: $0)
                    : Descriptor.write(descriptor, from: $0, handingOut: message.descriptors)
            }
            switch outcome {
            case .bytes(let count):
                for one in message.descriptors { Descriptor.close(one) }
                unsent[0].descriptors = []
                unsent[0].bytes.removeFirst(count)
                if unsent[0].bytes.isEmpty { unsent.removeFirst() }
            case .wouldBlock:
                watcher.watch([.readable, .writable])
                return
            // Reading sees the end.
            case .closed, .failed: return
            }
        }
        watcher.watch(.readable)
    }

    // MARK: Receiving

    func fileReady(_ events: FileEvents, error: UVError?) {
        if events.mayWrite { flush() }
        guard !isClosed, events.mayRead || events.isHungUp || error != nil else { return }
        var buffer = [UInt8](repeating: 0, count: HandoverWords.longestLine)
        let outcome = buffer.withUnsafeMutableBytes {
            Descriptor.read(descriptor, into: $0, taking: &taken)
        }
        switch outcome {
        case .bytes(let count):
            unread += buffer[..<count]
            readLines()
            if unread.count > HandoverWords.longestLine { end() }
        case .wouldBlock: break
        case .closed, .failed: end()
        }
    }

    private func readLines() {
        while !isClosed, let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
            let line = String(decoding: unread[..<end], as: UTF8.self)
            unread.removeFirst(end + 1)
            onLine(line.split(separator: " "))
        }
    }

    private func end() {
        guard !isClosed else { return }
        close()
        onEnd()
    }
}
