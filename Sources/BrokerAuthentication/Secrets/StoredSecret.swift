// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What is kept of a user's password, as `auth_file` or the answer of `auth_query` has it.
package enum StoredSecret: Equatable, Sendable {
    /// The password itself: any bytes but NUL. Empty: nobody's password.
    case plain([UInt8])
    /// "md5" and 32 hexadecimal digits.
    case md5(String)
    case scram(ScramSecret)

    /// Reads a secret; nil: it begins as one of SCRAM and is malformed.
    package init?(parsing text: [UInt8]) {
        if text.starts(with: "SCRAM-SHA-256$".utf8) {
            guard let string = String(validating: text, as: UTF8.self),
                let secret = ScramSecret(parsing: string)
            else { return nil }
            self = .scram(secret)
            return
        }
        let isMD5 =
            text.count == 35 && text.starts(with: "md5".utf8)
            && text.dropFirst(3).allSatisfy { isDigit($0) || (97...102).contains($0) }
        self = isMD5 ? .md5(String(decoding: text, as: UTF8.self)) : .plain(text)
    }

    /// Nobody can log in with it.
    package var isEmpty: Bool { self == .plain([]) }

    /// What a client can see of it before it has proven anything.
    package var form: SecretForm {
        switch self {
        case .plain: .plain
        case .md5: .md5
        case .scram(let secret):
            .scram(iterations: secret.iterations, saltLength: secret.salt.count)
        }
    }
}

/// How a secret is stored: it decides what its user is asked, and how long the check takes.
package enum SecretForm: Hashable, Sendable {
    case plain, md5
    case scram(iterations: Int, saltLength: Int)

    package static let usual = SecretForm.scram(
        iterations: ScramSecret.defaultIterations, saltLength: 16)
}

/// What stands for the secret of a user that does not exist.
///
/// Its form is that of some user who does, always the same one for a name, so that neither what is asked nor
/// how long it takes tells which names exist.
package struct UnknownUsers: Sendable {
    private let key: [UInt8]
    private let forms: [SecretForm]
    private let arithmetic: any ScramArithmetic

    /// `key` is a random value of this process.
    package init(key: [UInt8], like known: UserList?, arithmetic: any ScramArithmetic) {
        self.key = key
        self.arithmetic = arithmetic
        forms = known?.forms ?? []
    }

    /// `recent`: the form of the secrets that `auth_query` gives, which take part as one user.
    package func form(of user: String, recent: SecretForm?) -> SecretForm {
        let count = forms.count + (recent == nil ? 0 : 1)
        guard count > 0 else { return .usual }
        let digest = arithmetic.hmacSHA256(key: key, Array("form:\(user)".utf8))
        let index = digest.prefix(4).reduce(0) { $0 << 8 | Int($1) } % count
        return index < forms.count ? forms[index] : recent ?? .usual
    }

    /// The secret of a listed password: its salt is the one that the user would have if it did not exist. Takes
    /// long.
    package func derive(_ password: [UInt8], for user: String) -> ScramSecret {
        ScramSecret.derive(
            password: password, salt: secret(of: user).salt, arithmetic: arithmetic)
    }

    /// No password fits it, and its salt stays the same as long as the process lives.
    package func secret(
        of user: String, iterations: Int = ScramSecret.defaultIterations, saltLength: Int = 16
    ) -> ScramSecret {
        ScramSecret.mock(
            user: user, key: key, iterations: iterations, saltLength: saltLength,
            arithmetic: arithmetic)
    }
}
