// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The login on a server with a secret that is no password. libpq is given passwords only, so the messages of the
/// proof are dealt with here; all others, from AuthenticationOk on, are left to libpq.
///
/// Good for one socket.
package struct KeyLogin: Sendable {
    package enum Step: Equatable, Sendable {
        /// libpq is to read this message.
        case notOurs
        /// The rest of the message has not arrived.
        case incomplete
        /// The first `count` bytes are dealt with, and this is to be sent.
        case dealtWith(count: Int, answer: [UInt8])
        case failed(Failure)
    }

    package enum Failure: Error, Equatable, Sendable {
        /// Nothing that a server of good will says. Names what it is.
        case malformed(String)
        /// The server's secret of this role is another one.
        case otherSecret
        /// The server has not shown that it knows the secret.
        case serverNotProven
    }

    private enum State: Sendable {
        case asksNothing
        case proves(ScramClient)
        case isOver
    }

    private var state = State.asksNothing
    private let secret: HashedSecret
    private let nonce: String
    private let arithmetic: any ScramArithmetic

    package init(_ secret: HashedSecret, nonce: String, arithmetic: any ScramArithmetic) {
        self.secret = secret
        self.nonce = nonce
        self.arithmetic = arithmetic
    }

    /// `bytes` is what the server has sent and nobody has read.
    package mutating func look(at bytes: UnsafeRawBufferPointer) -> Step {
        guard case .isOver = state else { return judge(bytes) }
        return .notOurs
    }

    private mutating func judge(_ bytes: UnsafeRawBufferPointer) -> Step {
        guard let kind = bytes.first.map(BackendKind.init(rawValue:)), kind == .authentication
        else { return .notOurs }
        guard bytes.count >= MessageHeader.size + 4 else { return .incomplete }
        let length = MessageHeader(bytes, at: 0).bodyLength
        guard (4...Self.longestRequest).contains(length) else { return .notOurs }
        let code = bytes.loadUnaligned(fromByteOffset: MessageHeader.size, as: UInt32.self)
        guard bytes.count >= MessageHeader.size + length else { return .incomplete }
        let data = Array(bytes[(MessageHeader.size + 4)..<(MessageHeader.size + length)])
        do throws(Failure) {
            return try carryOut(code.bigEndian, data, MessageHeader.size + length)
        } catch {
            state = .isOver
            return .failed(error)
        }
    }

    private mutating func carryOut(
        _ code: UInt32, _ data: [UInt8], _ count: Int
    ) throws(Failure) -> Step {
        var answer: [UInt8] = []
        switch (state, code, secret) {
        case (.asksNothing, 5, .md5(let hash)) where data.count == 4:
            state = .isOver
            guard
                let proof = MD5Password.answer(hash: hash, salt: data, arithmetic: arithmetic)
            else { return .notOurs }
            answer.appendPasswordMessage(proof)
        case (.asksNothing, 10, .keys(let keys)) where Self.offersSCRAM(data):
            let client = ScramClient(keys: keys, nonce: nonce, arithmetic: arithmetic)
            answer.appendSASLInitialResponse(
                mechanism: ScramServer.mechanism, client.firstMessage)
            state = .proves(client)
        case (.asksNothing, _, _), (.isOver, _, _):
            state = .isOver
            return .notOurs
        case (.proves(var client), 11, _):
            answer.appendSASLResponse(
                try Self.translated { () throws(ScramClientError) in
                    try client.answer(to: data)
                })
            state = .proves(client)
        case (.proves(var client), 12, _):
            try Self.translated { () throws(ScramClientError) in try client.check(data) }
            state = .isOver
        case (.proves, 0, _):
            throw .serverNotProven
        case (.proves, _, _):
            throw .malformed("authentication request \(code) out of order")
        }
        return .dealtWith(count: count, answer: answer)
    }

    private static func translated<Result>(
        _ body: () throws(ScramClientError) -> Result
    ) throws(Failure) -> Result {
        do throws(ScramClientError) {
            return try body()
        } catch {
            switch error {
            case .malformed(let what): throw .malformed(what)
            case .otherSecret: throw .otherSecret
            case .serverNotProven: throw .serverNotProven
            }
        }
    }

    private static func offersSCRAM(_ mechanisms: [UInt8]) -> Bool {
        mechanisms.split(separator: 0).contains { $0.elementsEqual(ScramServer.mechanism.utf8) }
    }

    /// libpq's own limit.
    private static let longestRequest = 2000
}
