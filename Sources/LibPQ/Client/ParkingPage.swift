// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Glibc

/// Page and bell of a client session whose leases may be parked: docs/parked.md has the protocol.
///
/// Owns the mapping and the bell. One thread at a time uses it, as its connection. After it has put the token in or
/// out it looks at the broker's word, as the broker, which writes its word, looks at the token: between its two steps
/// the broker has each registered process make its writes seen, so that one of the two sees the other.
@safe
package final class ParkingPage {
    private let page: UnsafeMutablePointer<UInt8>
    private let bell: Int32
    private var said = (thread: "", purpose: "")

    private static let size = 4096
    private static let word = 0
    private static let token = 32
    private static let thread = 64..<128
    private static let purpose = 128..<384

    /// Whether this process is one whose writes the broker can have seen; asked again in a forked child.
    package static var isPossible: Bool { pglease_register_for_barriers() == 0 }

    /// Takes both descriptors over; nil when the page cannot be mapped.
    fileprivate init?(bell: Int32, page: Int32) {
        defer { _ = close(page) }
        let mapped = unsafe mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            _ = close(bell)
            return nil
        }
        // SAFETY: the mapping has `size` bytes and lives as long as this object; its file's size is sealed.
        unsafe self.page = mapped.assumingMemoryBound(to: UInt8.self)
        self.bell = bell
    }

    deinit {
        _ = unsafe munmap(page, Self.size)
        _ = close(bell)
    }

    package var mayPark: Bool { unsafe pglease_load_byte(page + Self.word) == 1 }

    /// From now on the broker may have what is parked.
    package func park() {
        unsafe pglease_store_byte(page + Self.token, 1)
        if !mayPark { ring() }
    }

    /// True when what was parked is the caller's again; false: the broker has it, or will.
    package func take() -> Bool {
        unsafe pglease_store_byte(page + Self.token, 0)
        if mayPark { return true }
        unsafe pglease_store_byte(page + Self.token, 1)
        ring()
        return false
    }

    private func ring() {
        var one: UInt64 = 1
        // SAFETY: the kernel reads eight bytes. A bell that cannot take more is ringing.
        _ = unsafe write(bell, &one, 8)
    }

    /// The broker has written it: LEASE had both.
    package func hasSaid(thread: String, purpose: String) { said = (thread, purpose) }

    /// Who uses the lease from now on, and for what: for the broker's eyes. It reads that once, as soon as it finds the
    /// token out: so it is said before `take()`.
    package func say(thread: String, purpose: String) {
        if said == (thread, purpose) { return }
        said = (thread, purpose)
        put(thread, into: Self.thread)
        put(purpose, into: Self.purpose)
    }

    /// Ended by NUL; never a part of a character.
    private func put(_ text: String, into field: Range<Int>) {
        var bytes: [UInt8] = []
        for scalar in text.unicodeScalars where scalar != "\0" {
            let next = Array(String(scalar).utf8)
            if bytes.count + next.count >= field.count { break }
            bytes += next
        }
        for (offset, index) in field.enumerated() {
            unsafe page[index] = offset < bytes.count ? bytes[offset] : 0
        }
    }
}

extension BlockingConnection {
    /// What came with an answer: the server connection's socket, and where the lease may be parked bell and page.
    package struct ReceivedDescriptors: ~Copyable {
        private var numbers: [Int32]

        init(_ numbers: [Int32]) { self.numbers = numbers }

        deinit { for number in numbers { _ = Glibc.close(number) } }

        /// Still owned here.
        var server: Int32 { numbers[0] }

        package var mayBeParked: Bool { numbers.count == 3 }

        /// Nil where none came, or it cannot be mapped.
        package mutating func takePage() -> ParkingPage? {
            guard mayBeParked else { return nil }
            let (bell, page) = (numbers[1], numbers[2])
            numbers.removeLast(2)
            return ParkingPage(bell: bell, page: page)
        }
    }
}
