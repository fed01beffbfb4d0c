// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// What `auth_query` says about one user.
package enum QueriedSecret: Equatable, Sendable {
    case found(StoredSecret)
    /// No row, or one without a name.
    case nobody
    /// The server refused the query, or ended it.
    case refused(PgError)
    /// An answer that is not one name and one secret. Names what it is.
    case unusable(String)
}

/// Reads the answer to `auth_query`, message by message.
package struct AuthenticationAnswer: Sendable {
    private let user: String
    private var rows = 0
    private var secret = QueriedSecret.nobody

    package init(about user: String) { self.user = user }

    /// The question: one batch, in which the user is a parameter.
    package static func question(_ query: String, about user: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendParse(name: "", query: query)
        bytes.appendBind(texts: [user])
        bytes.appendExecute()
        bytes.appendSync()
        return bytes
    }

    /// Answers what was found, once the batch is over.
    package mutating func take(_ kind: BackendKind, _ body: UnsafeRawBufferPointer)
        -> QueriedSecret?
    {
        switch kind {
        case .dataRow:
            rows += 1
            if case .refused = secret { break }
            secret = rows == 1 ? row(body) : .unusable("more than one row")
        case .errorResponse:
            secret = .refused(
                ErrorFields(body: body)?.pgError
                    ?? .error(.internalError, "an error that cannot be read"))
        case .readyForQuery: return secret
        default: break
        }
        return nil
    }

    private func row(_ body: UnsafeRawBufferPointer) -> QueriedSecret {
        guard let values = Self.values(of: body) else { return .unusable("a row that is cut off") }
        guard values.count == 2 else {
            return .unusable("\(values.count) column\(values.count == 1 ? "" : "s") in place of 2")
        }
        guard let name = values[0] else { return .nobody }
        guard name.elementsEqual(user.utf8) else { return .unusable("the name of another user") }
        let text = values[1] ?? []
        guard text.count <= UserList.longestSecret, let stored = StoredSecret(parsing: text) else {
            return .unusable("a secret that is malformed")
        }
        return .found(stored)
    }

    /// nil stands for NULL.
    private static func values(of body: UnsafeRawBufferPointer) -> [[UInt8]?]? {
        guard body.count >= 2 else { return nil }
        let count = Int(body.loadUnaligned(as: UInt16.self).bigEndian)
        var values: [[UInt8]?] = []
        var offset = 2
        for _ in 0..<count {
            guard body.count - offset >= 4 else { return nil }
            let bits = body.loadUnaligned(fromByteOffset: offset, as: UInt32.self).bigEndian
            let length = Int(Int32(bitPattern: bits))
            offset += 4
            if length < 0 {
                values.append(nil)
                continue
            }
            guard body.count - offset >= length else { return nil }
            values.append(Array(body[offset..<offset + length]))
            offset += length
        }
        return values
    }
}
