import CLibUV
import Glibc

/// Token and page of one client's parked leases: an eventfd and a sealed memfd, which the client has as well.
///
/// Whoever reads the token has what lies parked. Of the page the broker writes the first byte, and reads what the client
/// has written about itself; it is not mapped here, so that nothing that the client does with it is felt.
@safe
package final class ParkingPlace: FileWatcherDelegate {
    private let token: Int32
    private let page: Int32
    private let loop: EventLoop
    private let onToken: () -> Void
    private var watcher: FileWatcher?
    private var isAllowed = false
    private var isClosed = false

    /// What the page holds: whether the client may park, then who uses what is not parked.
    package static let size = 4096
    static let threadOffset: off_t = 64
    static let threadSize = 64
    static let purposeSize = 256

    /// nil: the system has no such thing, or no descriptor is left. `onToken`: while it is watched, the token is in.
    package init?(loop: EventLoop, onToken: @escaping () -> Void) {
        let token = pglease_token()
        guard token >= 0 else { return nil }
        // A new one is empty; another answer than "not now" says that it could not be asked without waiting.
        guard pglease_take_token(token) < 0, errno == EAGAIN else {
            Descriptor.close(token)
            return nil
        }
        let page = pglease_page(Self.size)
        guard page >= 0 else {
            Descriptor.close(token)
            return nil
        }
        self.token = token
        self.page = page
        self.loop = loop
        self.onToken = onToken
    }

    deinit { close() }

    /// Idempotent.
    package func close() {
        if isClosed { return }
        isClosed = true
        watcher?.close()
        watcher = nil
        Descriptor.close(token)
        Descriptor.close(page)
    }

    /// The token is out, and the page says that it may be put in. False if the page cannot be written.
    package func allow() -> Bool {
        _ = take()
        return say(true)
    }

    package func forbid(watching: Bool) {
        _ = say(false)
        if watching, watcher == nil, let made = try? FileWatcher(loop: loop, descriptor: token) {
            made.delegate = self
            watcher = made
        }
        watcher?.watch(watching ? .readable : [])
    }

    private func say(_ isAllowed: Bool) -> Bool {
        if isAllowed == self.isAllowed { return true }
        var byte: UInt8 = isAllowed ? 1 : 0
        // SAFETY: the kernel reads one byte.
        guard unsafe pwrite(page, &byte, 1, 0) == 1 else { return false }
        self.isAllowed = isAllowed
        return true
    }

    /// Takes the token out; false if it is not in.
    package func take() -> Bool { pglease_take_token(token) > 0 }

    package var isTokenIn: Bool {
        var query = pollfd(fd: token, events: Int16(POLLIN), revents: 0)
        // SAFETY: the kernel writes the one `revents`.
        return unsafe poll(&query, 1, 0) > 0 && query.revents & Int16(POLLIN) != 0
    }

    /// Who uses what is not parked, and for what, in the client's own words; nil: it says nothing.
    package var use: (thread: String?, purpose: String?) {
        var bytes = [UInt8](repeating: 0, count: Self.threadSize + Self.purposeSize)
        // SAFETY: the kernel writes at most as many bytes as there are.
        let count = unsafe pread(page, &bytes, bytes.count, Self.threadOffset)
        guard count == bytes.count else { return (nil, nil) }
        func text(_ field: ArraySlice<UInt8>) -> String? {
            let words = field.prefix { $0 != 0 }
            return words.isEmpty ? nil : String(decoding: words, as: UTF8.self)
        }
        return (text(bytes.prefix(Self.threadSize)), text(bytes.dropFirst(Self.threadSize)))
    }

    package func fileReady(_ events: FileEvents, error: UVError?) {
        if error == nil { onToken() }
    }
}

extension Descriptor {
    /// As `write(_:from:handingOut:)`, with token and page behind the descriptor.
    package static func write(
        _ descriptor: Int32, from buffer: UnsafeRawBufferPointer, handingOut handedOut: Int32,
        _ place: ParkingPlace
    ) -> IOResult {
        precondition(unsafe !buffer.isEmpty, "a descriptor travels with a byte")
        while true {
            let count = unsafe place.send(descriptor, buffer, handedOut)
            if count >= 0 { return .bytes(count) }
            if let result = outcome(of: errno) { return result }
        }
    }
}

extension ParkingPlace {
    fileprivate func send(
        _ socket: Int32, _ buffer: UnsafeRawBufferPointer, _ server: Int32
    ) -> Int {
        // SAFETY: the kernel reads at most `count` bytes of the caller's buffer, and descriptors of an array that
        // lives as long as the call.
        unsafe [server, token, page].withUnsafeBufferPointer {
            unsafe pglease_send_descriptors(
                socket, buffer.baseAddress, buffer.count, $0.baseAddress, $0.count)
        }
    }
}
