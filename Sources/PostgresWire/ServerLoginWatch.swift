// SPDX-License-Identifier: Apache-2.0

/// What a server says while it lets us in, looked at before libpq reads it: libpq hashes the password as
/// often as a SCRAM challenge tells it to, up to two thousand million times, before it returns.
///
/// Invariant: a challenge gets to libpq only after its count was seen. libpq may read more than was looked at,
/// if it arrives in between; but a challenge is of no use before it names libpq's nonce, which the server
/// learns from libpq's answer to the request for SCRAM. So it begins a read of its own, or a part of it was
/// sent blindly behind that request, and then the rest does not look like a message. It is enough to look at
/// the first message of each read, as long as a server asks for one kind of proof, once, and nothing
/// unknown comes after its first message.
///
/// Good for one socket: libpq may go on to another host of its list.
package struct ServerLoginWatch: Sendable {
    package enum Verdict: Equatable, Sendable {
        case harmless
        /// The rest of the first message has not arrived.
        case incomplete
        /// A SCRAM challenge.
        case challenge(iterations: Int)
        /// Nothing that a server of good will says, and libpq may not see. Names what it is.
        case refused(String)
    }

    private enum State: Sendable {
        case asksNothing
        /// Another version of the protocol was offered.
        case isNegotiated
        case asksSCRAM
        case asksGSS
        /// A password or an MD5 hash.
        case isAnswered
        /// A challenge was let through: there is no other, and no more work for libpq.
        case isProven
    }

    private var state = State.asksNothing
    /// The beginning of a message, which libpq has read already.
    private var held: [UInt8] = []

    package init() {}

    /// `bytes` is what lies before libpq. It may not be a part of a message unless `hold` was told of what
    /// came before.
    package mutating func look(at bytes: UnsafeRawBufferPointer) -> Verdict {
        if held.isEmpty { return judge(bytes) }
        let whole = held + bytes
        let verdict = whole.withUnsafeBytes { judge($0) }
        if verdict != .incomplete { held = [] }
        return verdict
    }

    /// libpq reads these bytes, and no others, although they are incomplete.
    package mutating func hold(_ bytes: UnsafeRawBufferPointer) { held += bytes }

    private mutating func judge(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        if state == .isProven { return .harmless }
        guard let kind = bytes.first.map(BackendKind.init(rawValue:)) else { return .incomplete }
        switch kind {
        case .authentication, .errorResponse, .negotiateProtocolVersion: break
        case _ where state == .asksNothing: return .harmless  // libpq gives up.
        default: return .refused("something else than an authentication request")
        }
        guard bytes.count >= MessageHeader.size else { return .incomplete }
        let length = MessageHeader(bytes, at: 0).bodyLength
        if kind == .errorResponse, state == .asksNothing, !(4...Self.longestError).contains(length)
        {
            return .harmless  // The text of a server that does not know protocol 3.
        }
        guard
            (4...(kind == .authentication ? Self.longestRequest : Self.longestError)).contains(
                length)
        else { return .refused("a message of \(length) bytes") }
        guard bytes.count >= MessageHeader.size + length else { return .incomplete }
        let body = UnsafeRawBufferPointer(
            rebasing: bytes[MessageHeader.size..<MessageHeader.size + length])
        switch kind {
        case .errorResponse:
            guard body.first == UInt8(ascii: "S"), body.last == 0 else {
                return .refused("an error that is none")
            }
            return .harmless
        case .negotiateProtocolVersion:
            guard state == .asksNothing else { return .refused("a late offer of a version") }
            state = .isNegotiated
            return .harmless
        default:
            return judge(request: UInt32(bigEndian: body.loadUnaligned(as: UInt32.self)), body)
        }
    }

    private mutating func judge(request code: UInt32, _ body: UnsafeRawBufferPointer) -> Verdict {
        let isFirst = state == .asksNothing || state == .isNegotiated
        switch AuthenticationRequest(rawValue: code) {
        case .saslContinue where isFirst || state == .asksSCRAM:
            let challenge = body.dropFirst(4)
            state = .isAnswered
            // Not SCRAM's, or libpq gives up at its first byte.
            guard challenge.starts(with: "r=".utf8) else { return .harmless }
            guard let iterations = Self.iterations(challenge) else {
                return .refused("a SCRAM challenge that cannot be read")
            }
            state = .isProven
            return .challenge(iterations: iterations)
        case .sasl where isFirst: state = .asksSCRAM
        case .cleartextPassword where isFirst, .md5Password where isFirst: state = .isAnswered
        case .gss where isFirst, .sspi where isFirst: state = .asksGSS
        case .gssContinue where state == .asksGSS, .ok: break
        case nil where state == .asksNothing: break  // libpq gives up.
        default: return .refused("authentication request \(code) out of order")
        }
        return .harmless
    }

    /// The count of `r=…,s=…,i=count`. nil where it is not plain digits: libpq would read signs and blanks,
    /// and cut a large number down to its last 32 bits.
    private static func iterations(_ challenge: Slice<UnsafeRawBufferPointer>) -> Int? {
        let attributes = challenge.split(
            separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        guard attributes.count >= 3, attributes[1].starts(with: "s=".utf8),
            attributes[2].starts(with: "i=".utf8)
        else { return nil }
        let digits = attributes[2].dropFirst(2)
        guard (1...10).contains(digits.count), digits.allSatisfy(isDigit) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }

    /// libpq's own limits.
    private static let longestRequest = 2000
    private static let longestError = 30_000
}

private enum AuthenticationRequest: UInt32 {
    case ok = 0
    case cleartextPassword = 3
    case md5Password = 5
    case gss = 7
    case gssContinue = 8
    case sspi = 9
    case sasl = 10
    case saslContinue = 11
    case saslFinal = 12
}
