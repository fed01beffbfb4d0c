// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// Page and bell of one client's parked leases: a sealed memfd and an eventfd, which the client has as well.
///
/// Each side writes one byte of the page and then reads the other's: the broker its word, the client its token. A
/// client needs no system call for that; the broker puts a memory barrier into all of them (membarrier(2)) between its
/// two steps, so that at least one of the two sees the other's byte. The page is not mapped here, so that nothing that
/// the client does with it is felt.
@safe
package final class ParkingPlace: FileWatcherDelegate {
    private let bell: Int32
    private let page: Int32
    private let loop: EventLoop
    private let onBell: () -> Void
    private var watcher: FileWatcher?
    private var isAllowed = false
    private var isClosed = false

    /// What the page holds: the broker's word (1: the client may park), the client's token (1: it has parked), then who
    /// uses what is not parked: the client writes that before it takes the token out.
    package static let size = 4096
    static let wordOffset = 0
    static let tokenOffset = 32
    static let threadOffset = 64
    static let threadSize = 64
    static let purposeOffset = threadOffset + threadSize
    static let purposeSize = 256

    /// nil: the system has no such thing, or no descriptor is left. `onBell`: while it is watched, it was rung.
    package init?(loop: EventLoop, onBell: @escaping () -> Void) {
        guard pglease_barrier() == 0 else { return nil }
        let bell = pglease_bell()
        guard bell >= 0 else { return nil }
        // A new one is silent; another answer than "not now" says that it could not be asked without waiting.
        guard pglease_silence_bell(bell) < 0, errno == EAGAIN else {
            Descriptor.close(bell)
            return nil
        }
        let page = pglease_page(Self.size)
        guard page >= 0 else {
            Descriptor.close(bell)
            return nil
        }
        self.bell = bell
        self.page = page
        self.loop = loop
        self.onBell = onBell
    }

    deinit { close() }

    /// Idempotent.
    package func close() {
        if isClosed { return }
        isClosed = true
        watcher?.close()
        watcher = nil
        Descriptor.close(bell)
        Descriptor.close(page)
    }

    // MARK: The broker's word

    /// The token is out, and the page says that it may be put in, and who uses the lease meanwhile: for a client that
    /// waits for its lease, and does not write before it has it. False if the page cannot be written.
    package func allow(thread: String?, purpose: String?) -> Bool {
        _ = pglease_silence_bell(bell)
        var bytes = [UInt8](repeating: 0, count: Self.purposeOffset + Self.purposeSize)
        bytes[Self.wordOffset] = 1
        Self.put(thread, into: &bytes, at: Self.threadOffset, Self.threadSize)
        Self.put(purpose, into: &bytes, at: Self.purposeOffset, Self.purposeSize)
        // SAFETY: the kernel reads the array's bytes.
        guard unsafe pwrite(page, bytes, bytes.count, 0) == bytes.count else { return false }
        isAllowed = true
        return true
    }

    /// As much as fits, never a part of a character, before a NUL.
    private static func put(_ text: String?, into bytes: inout [UInt8], at start: Int, _ size: Int)
    {
        guard let text else { return }
        var end = start
        for scalar in text.unicodeScalars {
            let next = UTF8.encode(scalar)!
            guard scalar != "\0", end + next.count < start + size else { break }
            for byte in next {
                bytes[end] = byte
                end += 1
            }
        }
    }

    /// From now on the client rings when it has put the token in, or found the word.
    package func forbid(watching: Bool) {
        forbid()
        if watching, watcher == nil, let made = try? FileWatcher(loop: loop, descriptor: bell) {
            made.delegate = self
            watcher = made
        }
        watcher?.watch(watching ? .readable : [])
    }

    /// What the client's token says afterwards holds: who has it in leaves it there.
    private func forbid() {
        isAllowed = false
        _ = write(0, at: Self.wordOffset)
        _ = pglease_barrier()
    }

    // MARK: The client's token

    /// Whether the lease is the broker's now: the token is in, and the client is kept from taking it out.
    package func take() -> Bool {
        guard isTokenIn else { return false }
        let wasAllowed = isAllowed
        forbid()
        if isTokenIn { return true }
        // It was taken out in this moment. A client that has seen the word puts it in again, and has lost the lease.
        if wasAllowed {
            isAllowed = true
            _ = write(1, at: Self.wordOffset)
        }
        return false
    }

    package var isTokenIn: Bool { read(at: Self.tokenOffset) == 1 }

    private func write(_ value: UInt8, at offset: Int) -> Bool {
        var byte = value
        // SAFETY: the kernel reads one byte.
        return unsafe pwrite(page, &byte, 1, offset) == 1
    }

    private func read(at offset: Int) -> UInt8? {
        var byte: UInt8 = 0
        // SAFETY: the kernel writes one byte.
        return unsafe pread(page, &byte, 1, offset) == 1 ? byte : nil
    }

    // MARK: Its user

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
        _ = pglease_silence_bell(bell)
        if error == nil { onBell() }
    }
}

extension Descriptor {
    /// As `write(_:from:handingOut:)`, with bell and page behind the descriptor.
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
        unsafe [server, bell, page].withUnsafeBufferPointer {
            unsafe pglease_send_descriptors(
                socket, buffer.baseAddress, buffer.count, $0.baseAddress, $0.count)
        }
    }
}
