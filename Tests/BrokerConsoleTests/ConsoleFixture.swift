// SPDX-License-Identifier: Apache-2.0

import PostgresWire

@testable import BrokerConsole

/// A broker that answers two rows for every SHOW, and writes down what it is told to do.
final class FakeConsoleBackend: ConsoleBackend {
    var commands: [ConsoleCommand] = []
    var applicationNames: [String] = []
    var shows: [ShowCommand] = []
    var rowCount = 2
    var refusal: ConsoleRefusal?

    func show(_ command: ShowCommand, into rows: inout ConsoleRows) {
        shows.append(command)
        let columns = rows.columns
        for number in 0..<rowCount {
            rows.add { row in
                for column in columns {
                    if column.kind == .text { row.text("text") } else { row.integer(number) }
                }
            }
        }
    }

    func perform(
        _ command: ConsoleCommand, into reply: inout [UInt8]
    ) throws(ConsoleRefusal) -> ConsoleOutcome {
        if let refusal { throw refusal }
        commands.append(command)
        reply.appendNoticeResponse(.notice("done"))
        if case .shutDown(let mode) = command {
            return ConsoleOutcome(tag: "SHUTDOWN", afterwards: .shutDown(mode))
        }
        return ConsoleOutcome(tag: "RELOAD")
    }

    func applicationNameChanged(_ name: String) { applicationNames.append(name) }
}

extension ConsoleTerms {
    /// Of a broker with one setting.
    static let known = ConsoleTerms(version: "1.2.3") { $0 == "default_pool_size" }
}

/// A client of a console session: sends messages, and reads the answer apart.
final class ConsoleClientStub {
    /// A message of the answer.
    struct Answer: Equatable, CustomStringConvertible {
        var kind: Character
        var body: [UInt8]

        var description: String { "\(kind)\(body)" }
    }

    let session: ConsoleSession
    let backend = FakeConsoleBackend()
    var lastStep = ConsoleSession.Step.goesOn

    init(_ privilege: ConsoleSession.Privilege = .administrator) {
        session = ConsoleSession(
            privilege: privilege, user: "ada", database: "pglease", applicationName: "test",
            processID: 7, terms: .known)
    }

    /// Sends these messages, one by one as the broker's framing hands them over.
    @discardableResult
    func send(_ write: (inout [UInt8]) -> Void) -> [Answer] {
        var bytes: [UInt8] = []
        write(&bytes)
        var reply: [UInt8] = []
        var offset = 0
        bytes.withUnsafeBytes { all in
            while offset < all.count {
                let header = MessageHeader(all, at: offset)
                let start = offset + MessageHeader.size
                offset = start + header.bodyLength
                lastStep = session.receive(
                    FrontendKind(rawValue: header.kind),
                    UnsafeRawBufferPointer(rebasing: all[start..<offset]), backend, into: &reply)
            }
        }
        return Self.answers(reply)
    }

    func query(_ sql: String) -> [Answer] { send { $0.appendQuery(sql) } }

    static func answers(_ bytes: [UInt8]) -> [Answer] {
        var answers: [Answer] = []
        var offset = 0
        bytes.withUnsafeBytes { all in
            while offset < all.count {
                let header = MessageHeader(all, at: offset)
                let start = offset + MessageHeader.size
                offset = start + header.bodyLength
                answers.append(
                    Answer(
                        kind: Character(Unicode.Scalar(header.kind)),
                        body: Array(all[start..<offset])))
            }
        }
        return answers
    }
}

extension [ConsoleClientStub.Answer] {
    /// The types of the messages, as "TDDCZ".
    var kinds: String { String(map(\.kind)) }

    /// The tags of all CommandComplete messages.
    var tags: [String] {
        filter { $0.kind == "C" }.map { String(decoding: $0.body.dropLast(), as: UTF8.self) }
    }

    var error: ErrorFields? { fields("E") }
    var notice: ErrorFields? { fields("N") }

    private func fields(_ kind: Character) -> ErrorFields? {
        first { $0.kind == kind }?.body.withUnsafeBytes { ErrorFields(body: $0) }
    }

    /// What the last ReadyForQuery says.
    var status: Character? {
        last { $0.kind == "Z" }?.body.first.map { Character(Unicode.Scalar($0)) }
    }

    /// Cells of each DataRow; nil is NULL.
    var rows: [[[UInt8]?]] {
        filter { $0.kind == "D" }.map { answer in
            var cells: [[UInt8]?] = []
            var offset = 2
            while offset < answer.body.count {
                let length = Int(Int32(bitPattern: integer(answer.body, at: offset)))
                offset += 4
                if length < 0 {
                    cells.append(nil)
                } else {
                    cells.append([UInt8](answer.body[offset..<offset + length]))
                    offset += length
                }
            }
            return cells
        }
    }

    /// Rows in text format.
    var texts: [[String?]] {
        rows.map { $0.map { cell in cell.map { String(decoding: $0, as: UTF8.self) } } }
    }

    /// Name, type and format of each column of the first RowDescription.
    var columns: [(name: String, type: UInt32, format: UInt8)] {
        guard let body = first(where: { $0.kind == "T" })?.body else { return [] }
        var columns: [(name: String, type: UInt32, format: UInt8)] = []
        var offset = 2
        while offset < body.count {
            let end = body[offset...].firstIndex(of: 0)!
            columns.append(
                (
                    String(decoding: body[offset..<end], as: UTF8.self), integer(body, at: end + 7),
                    body[end + 18]
                ))
            offset = end + 19
        }
        return columns
    }

    private func integer(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
}
