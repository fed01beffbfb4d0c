// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What drivers send behind nearly every Bind: a Describe of its unnamed portal, or none, an Execute of that without a
/// limit, and a Sync.
extension ClientTurn {
    /// Takes that at once, where it comes to what `run` would make of it message by message; else does nothing.
    @inline(__always)
    mutating func passPlainEnd(
        _ client: inout ClientStream, _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) {
        let isDescribed: Bool
        let length: Int
        if begins(with: 0x4400_0000_0650_0045, 0x0000_0009_0000_0000, 0x0000_0053_0000_0004) {
            isDescribed = true
            length = 22
        } else if begins(with: 0x4500_0000_0900_0000, 0x0000_0053_0000_0004) {
            isDescribed = false
            length = 15
        } else {
            return
        }
        guard client.passing.bytesLeft == 0, !client.isSkippingToSync, client.leases == nil,
            client.listening == nil, !server.isSkippingToSync, !server.isResetting,
            server.copy == .none, server.boundScope.isEmpty, server.boundReset == nil
        else { return }
        if isDescribed { server.push(Outstanding(.describe, .client)) }
        server.push(Outstanding(.execute, .client))
        server.push(Outstanding(.sync, .client))
        toServer.pass(offset..<offset + length, of: input)
        client.passing.isDiscarded = false
        offset += length
    }

    /// Whether these 22 bytes are next: the third eight overlap the second.
    @inline(__always)
    private func begins(with first: UInt64, _ second: UInt64, _ third: UInt64) -> Bool {
        input.count - offset >= 22 && word(at: 0) == first && word(at: 8) == second
            && word(at: 14) == third
    }

    /// The same of 15 bytes.
    @inline(__always)
    private func begins(with first: UInt64, _ second: UInt64) -> Bool {
        input.count - offset >= 15 && word(at: 0) == first && word(at: 7) == second
    }

    @inline(__always)
    private func word(at place: Int) -> UInt64 {
        UInt64(bigEndian: input.loadUnaligned(fromByteOffset: offset + place, as: UInt64.self))
    }
}
