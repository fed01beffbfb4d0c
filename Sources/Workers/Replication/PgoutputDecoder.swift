// SPDX-License-Identifier: Apache-2.0

/// Decodes the messages of `pgoutput`, protocol version 1. Pure: it keeps nothing between two.
///
/// Whatever the bytes are, the answer is a message or an error.
package enum PgoutputDecoder {
    /// What the first byte says, for those who look for the bounds of transactions only.
    package enum Kind: UInt8, Sendable {
        case begin = 0x42
        case commit = 0x43
        case origin = 0x4F
        case relation = 0x52
        case type = 0x59
        case insert = 0x49
        case update = 0x55
        case delete = 0x44
        case truncate = 0x54
        case message = 0x4D
    }

    package static func kind(of bytes: [UInt8]) throws(ReplicationProtocolError) -> Kind {
        guard let first = bytes.first else {
            throw ReplicationProtocolError(message: "message", problem: "it is empty")
        }
        guard let kind = Kind(rawValue: first) else {
            throw ReplicationProtocolError(
                message: "message", problem: "its kind \(first) is unknown")
        }
        return kind
    }

    package static func decode(
        _ bytes: [UInt8]
    ) throws(ReplicationProtocolError) -> PgoutputMessage {
        let kind = try kind(of: bytes)
        var reader = ReplicationReader(bytes, from: 1, reading: name(of: kind))
        let message: PgoutputMessage
        switch kind {
        case .begin:
            message = .begin(
                .init(
                    finalPosition: try reader.logPosition(), committedAt: try reader.int64(),
                    transaction: try reader.integer(UInt32.self)))
        case .commit:
            // Flags that have no meaning yet.
            _ = try reader.byte()
            message = .commit(
                .init(
                    position: try reader.logPosition(), endPosition: try reader.logPosition(),
                    committedAt: try reader.int64()))
        case .origin:
            message = .origin(position: try reader.logPosition(), name: try reader.text())
        case .relation: message = .relation(try relation(&reader))
        case .type:
            message = .type(
                id: try reader.integer(UInt32.self), schema: try reader.text(),
                name: try reader.text())
        case .insert:
            let relation = try reader.integer(UInt32.self)
            try expect(UInt8(ascii: "N"), &reader)
            message = .insert(relation: relation, new: try tuple(&reader))
        case .update: message = try update(&reader)
        case .delete:
            let relation = try reader.integer(UInt32.self)
            guard let old = try oldTuple(try reader.byte(), &reader) else {
                throw reader.failure("the old row is missing")
            }
            message = .delete(relation: relation, old: old)
        case .truncate: message = .truncate(try truncate(&reader))
        case .message:
            let flags = try reader.byte()
            let position = try reader.logPosition()
            let prefix = try reader.text()
            let content = try reader.take(try length(&reader))
            message = .message(
                .init(
                    isTransactional: flags & 1 != 0, position: position, prefix: prefix,
                    content: Array(content)))
        }
        try reader.end()
        return message
    }

    private static func name(of kind: Kind) -> String {
        switch kind {
        case .begin: "Begin"
        case .commit: "Commit"
        case .origin: "Origin"
        case .relation: "Relation"
        case .type: "Type"
        case .insert: "Insert"
        case .update: "Update"
        case .delete: "Delete"
        case .truncate: "Truncate"
        case .message: "Message"
        }
    }

    private static func relation(
        _ reader: inout ReplicationReader
    ) throws(ReplicationProtocolError) -> PgoutputMessage.Relation {
        let id = try reader.integer(UInt32.self)
        let schema = try reader.text()
        let name = try reader.text()
        let letter = try reader.byte()
        guard let identity = PgoutputMessage.ReplicaIdentity(rawValue: letter) else {
            throw reader.failure("its replica identity \(letter) is unknown")
        }
        var columns: [PgoutputMessage.Relation.Column] = []
        for _ in 0..<(try reader.integer(UInt16.self)) {
            columns.append(
                .init(
                    isKey: try reader.byte() & 1 != 0, name: try reader.text(),
                    type: try reader.integer(UInt32.self), modifier: try reader.int32()))
        }
        return .init(id: id, schema: schema, name: name, identity: identity, columns: columns)
    }

    private static func update(
        _ reader: inout ReplicationReader
    ) throws(ReplicationProtocolError) -> PgoutputMessage {
        let relation = try reader.integer(UInt32.self)
        var letter = try reader.byte()
        let old = try oldTuple(letter, &reader)
        if old != nil { letter = try reader.byte() }
        guard letter == UInt8(ascii: "N") else { throw reader.failure("the new row is missing") }
        return .update(relation: relation, old: old, new: try tuple(&reader))
    }

    /// Nil when the letter announces no old row.
    private static func oldTuple(
        _ letter: UInt8, _ reader: inout ReplicationReader
    ) throws(ReplicationProtocolError) -> PgoutputMessage.OldTuple? {
        switch letter {
        case UInt8(ascii: "K"): .key(try tuple(&reader))
        case UInt8(ascii: "O"): .row(try tuple(&reader))
        default: nil
        }
    }

    private static func tuple(
        _ reader: inout ReplicationReader
    ) throws(ReplicationProtocolError) -> PgoutputMessage.Tuple {
        var values: PgoutputMessage.Tuple = []
        for _ in 0..<(try reader.integer(UInt16.self)) {
            switch try reader.byte() {
            case UInt8(ascii: "n"): values.append(.null)
            case UInt8(ascii: "u"): values.append(.unchanged)
            case UInt8(ascii: "t"):
                let bytes = try reader.take(try length(&reader))
                guard let text = String(validating: bytes, as: UTF8.self) else {
                    throw reader.failure("a value is not UTF-8")
                }
                values.append(.text(text))
            case UInt8(ascii: "b"):
                values.append(.binary(Array(try reader.take(try length(&reader)))))
            case let letter: throw reader.failure("a value of the unknown kind \(letter)")
            }
        }
        return values
    }

    private static func truncate(
        _ reader: inout ReplicationReader
    ) throws(ReplicationProtocolError) -> PgoutputMessage.Truncate {
        let count = Int(try reader.integer(UInt32.self))
        let options = try reader.byte()
        guard count <= reader.remaining / 4 else {
            throw reader.failure("\(count) tables in \(reader.remaining) bytes")
        }
        var relations: [UInt32] = []
        for _ in 0..<count { relations.append(try reader.integer(UInt32.self)) }
        return .init(
            relations: relations, isCascading: options & 1 != 0, restartsIdentity: options & 2 != 0)
    }

    private static func length(
        _ reader: inout ReplicationReader
    ) throws(ReplicationProtocolError) -> Int {
        Int(try reader.int32())
    }

    private static func expect(
        _ letter: UInt8, _ reader: inout ReplicationReader
    ) throws(ReplicationProtocolError) {
        guard try reader.byte() == letter else { throw reader.failure("the new row is missing") }
    }
}
