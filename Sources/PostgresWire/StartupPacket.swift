// SPDX-License-Identifier: Apache-2.0

/// The first packet of a connection, which has a length but no type byte.
package enum StartupPacket: Sendable {
    case ssl
    case gss
    /// The key is four bytes in protocol 3.0 and up to 256 from 3.2 on: kept as it came.
    case cancel(processID: Int32, secretKey: [UInt8])
    case startup(StartupMessage)

    /// Bytes of the longest packet that is read, its length included.
    package static let maximumLength = 10_000

    /// Bytes of the shortest: a length and a code.
    private static let minimumLength = 8

    static let cancelRequestCode: UInt32 = 1234 << 16 | 5678
    static let sslRequestCode: UInt32 = 1234 << 16 | 5679
    static let gssRequestCode: UInt32 = 1234 << 16 | 5680

    /// Bytes of the whole packet, once its first four are there.
    package static func length(
        _ firstFour: UnsafeRawBufferPointer
    ) throws(WireError) -> Int {
        precondition(firstFour.count >= 4, "a startup packet's length is four bytes")
        let length = Int(bigEndian(firstFour, at: 0))
        guard length >= minimumLength, length <= maximumLength else {
            throw .startupPacketLength(length)
        }
        return length
    }

    /// Reads one whole packet, its length included.
    package static func parse(
        _ packet: UnsafeRawBufferPointer
    ) throws(WireError) -> StartupPacket {
        guard packet.count >= minimumLength else { throw .startupPacketLength(packet.count) }
        let announced = try length(packet)
        guard announced == packet.count else {
            throw .startupPacketSize(announced: announced, present: packet.count)
        }
        let code = bigEndian(packet, at: 4)
        switch code {
        case sslRequestCode, gssRequestCode:
            guard packet.count == minimumLength else {
                throw .startupPacketSize(announced: minimumLength, present: packet.count)
            }
            return code == sslRequestCode ? .ssl : .gss
        case cancelRequestCode:
            let keyLength = packet.count - 12
            guard (4...256).contains(keyLength) else {
                throw .startupPacketSize(announced: 16, present: packet.count)
            }
            return .cancel(
                processID: Int32(bitPattern: bigEndian(packet, at: 8)),
                secretKey: Array(packet[12...]))
        default:
            return .startup(try StartupMessage(version: code, packet: packet))
        }
    }

    private static func bigEndian(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> UInt32 {
        bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self).bigEndian
    }
}
