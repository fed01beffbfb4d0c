// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// How clients and servers are named in the console's rows.
extension GenerationalIdentity {
    /// The column `id`. No two that are alive or will be soon have the same: a slot stands for an open file,
    /// of which Linux allows a process 2^20.
    package var consoleNumber: Int64 { Int64(generation) << 20 | Int64(slot & 0xF_FFFF) }

    fileprivate func pointer(kind: UInt64) -> String {
        let value = kind << 56 | UInt64(generation) << 32 | UInt64(slot)
        return "0x" + String(value, radix: 16)
    }
}

extension ClientID {
    /// The column `ptr`, and `link` of the server that it holds: pgbouncer shows an address there, which
    /// tells nothing but who belongs to whom.
    var consolePointer: String { pointer(kind: 0xC1) }

    /// The client of a column `id`.
    package init?(consoleNumber: Int64) {
        guard consoleNumber > 0, let generation = UInt32(exactly: consoleNumber >> 20) else {
            return nil
        }
        self.init(slot: UInt32(consoleNumber & 0xF_FFFF), generation: generation)
    }
}

extension ServerID {
    var consolePointer: String { pointer(kind: 0x5E) }
}

/// Moments of the loop's clock as UTC, by one reading of both clocks.
struct ConsoleClock {
    let loop: Instant
    let wall: UTCTime

    /// `2026-11-23 11:05:33 UTC`, as pgbouncer writes it.
    func text(_ instant: Instant) -> String {
        let age = loop.nanoseconds - instant.nanoseconds
        let nanoseconds = wall.nanoseconds - Int(age % 1_000_000_000)
        let carry = nanoseconds < 0 ? 1 : nanoseconds >= 1_000_000_000 ? -1 : 0
        let seconds = wall.seconds - Int(age / 1_000_000_000) - carry
        return UTCTime(seconds: seconds, nanoseconds: 0).secondsText
    }
}

/// The two ends of a socket, for the columns addr, port, local_addr and local_port.
package struct ConsoleAddresses {
    package var address: String?
    package var port: Int?
    package var localAddress: String?
    package var localPort: Int?

    package init() {}

    /// Of a Unix socket pgbouncer shows "unix" and the port in its name.
    package static func unix(port: Int?) -> ConsoleAddresses {
        var addresses = ConsoleAddresses()
        addresses.address = "unix"
        addresses.port = port
        addresses.localAddress = "unix"
        addresses.localPort = port
        return addresses
    }
}

extension Duration {
    /// Whole seconds, and the microseconds that are left: the two columns of a waiting time.
    var secondsAndMicroseconds: (seconds: Int64, microseconds: Int64) {
        let all = max(0, wholeMicroseconds)
        return (all / 1_000_000, all % 1_000_000)
    }
}
