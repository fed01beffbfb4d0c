// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// Why a SCRAM exchange ends.
package enum ScramError: Error, Equatable, Sendable {
    /// The message does not follow the grammar of RFC 5802.
    case malformed(String)
    /// Well formed, but something that is not offered: a kind of channel binding, an authorization
    /// identity, an extension.
    case unsupported(String)
    /// The two ends do not see the same channel: somebody may stand between them.
    case notBound(String)
    /// The password is wrong, or there is no such user: the two are not told apart.
    case wrongProof
    /// A message when none is due.
    case outOfOrder

    /// What the client is told.
    package func pgError(user: String) -> PgError {
        switch self {
        case .malformed(let detail):
            return .fatal(.protocolViolation, "malformed SCRAM message", detail: detail)
        case .unsupported(let detail):
            return .fatal(.featureNotSupported, "unsupported SCRAM exchange", detail: detail)
        case .notBound(let detail):
            return .fatal(
                .invalidAuthorization, "SCRAM channel binding check failed", detail: detail)
        case .wrongProof:
            return .fatal(
                .invalidPassword, "password authentication failed for user \"\(user)\"")
        case .outOfOrder:
            return .fatal(.protocolViolation, "SCRAM message out of order")
        }
    }
}

/// The server's side of one SCRAM-SHA-256 exchange (RFC 5802, RFC 7677), bound to its TLS channel where
/// the client can do that.
///
/// It reads each of the two client messages once; after an error it reads nothing more. It needs no keys: they
/// may be derived while the client thinks, and are for the proof (`ScramProof`).
package struct ScramServer: Sendable {
    package static let mechanism = "SCRAM-SHA-256"
    package static let boundMechanism = "SCRAM-SHA-256-PLUS"

    /// What the channel is known by at both ends (`tls-server-end-point`); nil offers no binding.
    package var endPoint: [UInt8]?

    /// What is offered, the best first.
    package var mechanisms: [String] {
        endPoint == nil ? [Self.mechanism] : [Self.boundMechanism, Self.mechanism]
    }

    private enum State: Sendable {
        case awaitsFirst
        case awaitsFinal(FirstExchange)
        case finished
    }

    /// What the proof is computed over.
    private struct FirstExchange: Sendable {
        /// The header of the first message, and what the channel is bound by.
        var binding: [UInt8]
        var isBound: Bool
        var clientFirstBare: String
        var serverFirst: String
        var nonce: String
    }

    private var state = State.awaitsFirst
    private let salt: [UInt8]
    private let iterations: Int
    private let nonce: String

    /// `nonce` is random and printable without a comma; base64 of 18 bytes is what PostgreSQL
    /// takes.
    package init(salt: [UInt8], iterations: Int, nonce: String) {
        precondition(Self.isNonce(nonce), "a nonce is printable, without a comma")
        self.salt = salt
        self.iterations = iterations
        self.nonce = nonce
    }

    // MARK: client-first-message

    /// Reads `n,,n=user,r=nonce` and answers `r=…,s=salt,i=iterations`. The client has chosen one of
    /// `mechanisms`.
    package mutating func handleFirst(
        _ clientFirst: [UInt8], by mechanism: String = Self.mechanism
    ) throws(ScramError) -> String {
        guard case .awaitsFirst = state else {
            state = .finished
            throw .outOfOrder
        }
        state = .finished
        let message = try Self.text(clientFirst)
        guard mechanisms.contains(mechanism) else {
            throw .unsupported("\(mechanism.prefix(64)) is not offered.")
        }
        let isBound = mechanism == Self.boundMechanism
        let gs2Header = try gs2Header(of: message, isBound: isBound)
        let bare = String(message.dropFirst(gs2Header.count))
        var attributes = Attributes(bare)
        if attributes.nextName == "m" {
            throw .unsupported("The client requires an extension of SCRAM.")
        }
        // The name in here is without meaning: the startup packet has said who it is.
        _ = try attributes.take("n")
        let clientNonce = try attributes.take("r")
        guard Self.isNonce(clientNonce) else { throw .malformed("The nonce is not printable.") }
        try attributes.skipRest()

        let combined = clientNonce + nonce
        let serverFirst = "r=\(combined),s=\(base64Encode(salt)),i=\(iterations)"
        state = .awaitsFinal(
            FirstExchange(
                binding: Array(gs2Header.utf8) + (isBound ? endPoint ?? [] : []),
                isBound: isBound, clientFirstBare: bare, serverFirst: serverFirst,
                nonce: combined))
        return serverFirst
    }

    /// The part in front that says whether the client binds to a TLS channel.
    private func gs2Header(of message: String, isBound: Bool) throws(ScramError) -> String {
        let parts = message.split(separator: ",", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else { throw .malformed("The message ends too early.") }
        switch parts[0] {
        case "n", "y":
            if isBound {
                throw .malformed(
                    "The client selected \(Self.boundMechanism), but does not say what binds it.")
            }
            // 'y' says that the client could bind and saw that it is not offered.
            if parts[0] == "y", endPoint != nil {
                throw .notBound(
                    "The client supports channel binding but thinks the server does not. However, "
                        + "this server does.")
            }
        case "p=tls-server-end-point" where isBound: break
        case _ where parts[0].hasPrefix("p=") && isBound:
            throw .unsupported("The only channel binding here is tls-server-end-point.")
        case _ where parts[0].hasPrefix("p="):
            throw .unsupported(
                "The client requires channel binding, but selected a mechanism without it.")
        default:
            throw .malformed("The channel binding flag is none of n, y and p.")
        }
        guard parts[1].isEmpty else {
            guard parts[1].hasPrefix("a=") else {
                throw .malformed("An attribute stands where the authorization identity belongs.")
            }
            throw .unsupported("The client sends an authorization identity.")
        }
        return "\(parts[0]),,"
    }

    // MARK: client-final-message

    /// Reads `c=…,r=…,p=proof`; the proof is still to be checked.
    package mutating func handleFinal(_ clientFinal: [UInt8]) throws(ScramError) -> ScramProof {
        guard case .awaitsFinal(let first) = state else {
            state = .finished
            throw .outOfOrder
        }
        state = .finished
        let message = try Self.text(clientFinal)
        var attributes = Attributes(message)
        guard let binding = base64Decode(try attributes.take("c")) else {
            throw .malformed("The channel binding is not in base64.")
        }
        guard binding == first.binding else {
            throw first.isBound
                ? .notBound("The channel binding is not that of this connection.")
                : .malformed("The channel binding is not that of the first message.")
        }
        guard try attributes.take("r") == first.nonce else {
            throw .malformed("The nonce is not that of the first exchange.")
        }
        let (withoutProof, proofText) = try attributes.takeProof()
        guard let proof = base64Decode(proofText), proof.count == ScramSecret.keyLength else {
            throw .malformed("The proof is not 32 bytes in base64.")
        }

        return ScramProof(
            bytes: proof,
            authMessage: Array("\(first.clientFirstBare),\(first.serverFirst),\(withoutProof)".utf8)
        )
    }

    // MARK: Grammar

    private static func text(_ bytes: [UInt8]) throws(ScramError) -> String {
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
            throw .malformed("The message is not UTF-8 text.")
        }
        return text
    }

    /// RFC 5802: printable ASCII without a comma, at least one.
    private static func isNonce(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { (0x21...0x7e).contains($0) && $0 != UInt8(ascii: ",") }
    }
}

/// The `name=value` pairs of a SCRAM message, taken one by one.
///
/// Over scalars and not characters: a combining mark after a comma must not hide it.
private struct Attributes {
    private let message: String
    private var rest: Substring.UnicodeScalarView

    init(_ message: String) {
        self.message = message
        rest = Substring(message).unicodeScalars
    }

    var nextName: Unicode.Scalar? { rest.first }

    mutating func take(_ name: Unicode.Scalar) throws(ScramError) -> String {
        let (found, value) = try takeAny()
        guard found == name else {
            throw .malformed("Expected attribute \"\(name)\".")
        }
        return value
    }

    private mutating func takeAny() throws(ScramError) -> (Unicode.Scalar, String) {
        guard let name = rest.popFirst(), name.isASCII, name.properties.isAlphabetic,
            rest.popFirst() == "="
        else { throw .malformed("An attribute is a letter, \"=\" and a value.") }
        let value = rest.prefix { $0 != "," }
        rest = rest[value.endIndex...]
        // A comma promises one more attribute; skipRest and takeProof see when it does not come.
        if rest.first == "," { rest.removeFirst() }
        return (name, String(value))
    }

    /// Extensions that are not mandatory.
    mutating func skipRest() throws(ScramError) {
        guard message.utf8.last != UInt8(ascii: ",") else {
            throw .malformed("The message ends with a comma.")
        }
        while !rest.isEmpty { _ = try takeAny() }
    }

    /// The proof, which is the last attribute, and the message up to the comma before it.
    mutating func takeProof() throws(ScramError) -> (withoutProof: String, proof: String) {
        while true {
            let start = rest.startIndex
            let (name, value) = try takeAny()
            guard name == "p" else { continue }
            guard rest.isEmpty, message.utf8.last != UInt8(ascii: ",") else {
                throw .malformed("Something follows the proof.")
            }
            return (String(message[..<message.unicodeScalars.index(before: start)]), value)
        }
    }
}
