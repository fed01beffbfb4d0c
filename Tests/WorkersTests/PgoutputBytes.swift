// SPDX-License-Identifier: Apache-2.0

@testable import Workers

/// Writes messages of `pgoutput` as a source does: the decoder's counterpart, for tests.
struct PgoutputBytes {
    var bytes: [UInt8] = []

    static func of(_ message: PgoutputMessage) -> [UInt8] {
        var writer = PgoutputBytes()
        writer.append(message)
        return writer.bytes
    }

    mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ text: String) {
        bytes.append(contentsOf: text.utf8)
        bytes.append(0)
    }

    mutating func append(letter: Character) { bytes.append(letter.asciiValue!) }

    mutating func append(_ message: PgoutputMessage) {
        switch message {
        case .begin(let begin):
            append(letter: "B")
            append(begin.finalPosition.rawValue)
            append(begin.committedAt)
            append(begin.transaction)
        case .commit(let commit):
            append(letter: "C")
            append(UInt8(0))
            append(commit.position.rawValue)
            append(commit.endPosition.rawValue)
            append(commit.committedAt)
        case .origin(let position, let name):
            append(letter: "O")
            append(position.rawValue)
            append(name)
        case .relation(let relation): append(relation)
        case .type(let id, let schema, let name):
            append(letter: "Y")
            append(id)
            append(schema)
            append(name)
        case .insert(let relation, let new):
            append(letter: "I")
            append(relation)
            append(letter: "N")
            append(new)
        case .update(let relation, let old, let new):
            append(letter: "U")
            append(relation)
            if let old { append(old) }
            append(letter: "N")
            append(new)
        case .delete(let relation, let old):
            append(letter: "D")
            append(relation)
            append(old)
        case .truncate(let truncate):
            append(letter: "T")
            append(UInt32(truncate.relations.count))
            append(UInt8((truncate.isCascading ? 1 : 0) | (truncate.restartsIdentity ? 2 : 0)))
            for relation in truncate.relations { append(relation) }
        case .message(let message):
            append(letter: "M")
            append(UInt8(message.isTransactional ? 1 : 0))
            append(message.position.rawValue)
            append(message.prefix)
            append(Int32(message.content.count))
            bytes.append(contentsOf: message.content)
        }
    }

    mutating func append(_ relation: PgoutputMessage.Relation) {
        append(letter: "R")
        append(relation.id)
        append(relation.schema)
        append(relation.name)
        append(relation.identity.rawValue)
        append(UInt16(relation.columns.count))
        for column in relation.columns {
            append(UInt8(column.isKey ? 1 : 0))
            append(column.name)
            append(column.type)
            append(column.modifier)
        }
    }

    mutating func append(_ old: PgoutputMessage.OldTuple) {
        switch old {
        case .key: append(letter: "K")
        case .row: append(letter: "O")
        }
        append(old.tuple)
    }

    mutating func append(_ tuple: PgoutputMessage.Tuple) {
        append(UInt16(tuple.count))
        for value in tuple {
            switch value {
            case .null: append(letter: "n")
            case .unchanged: append(letter: "u")
            case .text(let text):
                append(letter: "t")
                append(Int32(text.utf8.count))
                bytes.append(contentsOf: text.utf8)
            case .binary(let binary):
                append(letter: "b")
                append(Int32(binary.count))
                bytes.append(contentsOf: binary)
            }
        }
    }
}

/// One message of each kind and shape.
let pgoutputSamples: [PgoutputMessage] = [
    .begin(
        .init(
            finalPosition: .init(rawValue: 0x16_B374_D848), committedAt: 700_000_000_000_000,
            transaction: 4711)),
    .commit(
        .init(
            position: .init(rawValue: 0x16_B374_D848),
            endPosition: .init(rawValue: 0x16_B374_D878), committedAt: -5)),
    .origin(position: .init(rawValue: 99), name: "node_1"),
    .relation(
        .init(
            id: 16_385, schema: "public", name: "größe", identity: .primaryKey,
            columns: [
                .init(isKey: true, name: "id", type: 23, modifier: -1),
                .init(isKey: false, name: "text", type: 25, modifier: 44),
            ])),
    .relation(.init(id: 1, schema: "", name: "t", identity: .full, columns: [])),
    .type(id: 16_400, schema: "public", name: "mood"),
    .insert(
        relation: 16_385, new: [.text("1"), .null, .text(""), .text("ü\n"), .binary([0, 255])]),
    .insert(relation: 16_385, new: []),
    .update(relation: 16_385, old: nil, new: [.text("1"), .unchanged]),
    .update(relation: 16_385, old: .key([.text("1"), .null]), new: [.text("2"), .text("b")]),
    .update(relation: 16_385, old: .row([.text("1"), .text("a")]), new: [.text("1"), .null]),
    .delete(relation: 16_385, old: .key([.text("1"), .null])),
    .delete(relation: 16_385, old: .row([.text("1"), .text("a")])),
    .truncate(.init(relations: [1, 2, 3], isCascading: true, restartsIdentity: false)),
    .truncate(.init(relations: [], isCascading: false, restartsIdentity: true)),
    .message(
        .init(
            isTransactional: true, position: .init(rawValue: 7), prefix: "pglease",
            content: [0, 1, 2])),
]
