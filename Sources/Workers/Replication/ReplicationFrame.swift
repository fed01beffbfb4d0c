// SPDX-License-Identifier: Apache-2.0

/// What a walsender puts into its CopyData messages.
package enum ReplicationFrame: Equatable, Sendable {
    /// A message of the output plugin.
    case data(start: LogSequenceNumber, walEnd: LogSequenceNumber, payload: [UInt8])
    /// All that is before `walEnd` has been sent. When `wantsReply`, the connection is soon ended
    /// unless a status update comes.
    case keepalive(walEnd: LogSequenceNumber, wantsReply: Bool)

    package static func decode(
        _ bytes: [UInt8]
    ) throws(ReplicationProtocolError) -> ReplicationFrame {
        switch bytes.first {
        case UInt8(ascii: "w"):
            var reader = ReplicationReader(bytes, from: 1, reading: "XLogData")
            let start = try reader.logPosition()
            let walEnd = try reader.logPosition()
            // The server's clock.
            _ = try reader.int64()
            return .data(
                start: start, walEnd: walEnd, payload: Array(try reader.take(reader.remaining)))
        case UInt8(ascii: "k"):
            var reader = ReplicationReader(bytes, from: 1, reading: "keepalive")
            let walEnd = try reader.logPosition()
            _ = try reader.int64()
            let wantsReply = try reader.byte() != 0
            try reader.end()
            return .keepalive(walEnd: walEnd, wantsReply: wantsReply)
        default:
            throw ReplicationProtocolError(
                message: "CopyData", problem: "its kind \(bytes.first ?? 0) is unknown")
        }
    }
}

/// What a receiver tells a walsender of how far it is.
package struct StandbyStatusUpdate: Equatable, Sendable {
    package var received: LogSequenceNumber
    /// Everything before it is safe at the receiver: the source may forget it.
    package var flushed: LogSequenceNumber
    /// Microseconds from 2000-01-01 00:00 UTC.
    package var sentAt: Int64

    package init(received: LogSequenceNumber, flushed: LogSequenceNumber, sentAt: Int64) {
        self.received = received
        self.flushed = flushed
        self.sentAt = sentAt
    }

    /// For CopyData. Written, flushed and applied are one thing here: a transaction counts when the
    /// destination has committed it.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "r")]
        for number in [
            max(received, flushed).rawValue, flushed.rawValue, flushed.rawValue,
            UInt64(bitPattern: sentAt),
        ] {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
            }
        }
        // No answer is wanted.
        bytes.append(0)
        return bytes
    }
}
