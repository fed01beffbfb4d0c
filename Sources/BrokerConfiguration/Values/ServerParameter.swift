// SPDX-License-Identifier: Apache-2.0

/// One keyword of libpq with its value, or one startup parameter.
package struct ServerParameter: Equatable, Sendable {
    package let keyword: String
    package let value: String

    package init(_ keyword: String, _ value: String) {
        self.keyword = keyword
        self.value = value
    }

    /// The value as it may be shown.
    package var shownValue: String { Self.isSecret(keyword) ? "***" : value }

    /// Keywords whose value is a secret.
    static func isSecret(_ keyword: String) -> Bool {
        keyword == "password" || keyword == "sslpassword" || keyword == "scram_client_key"
            || keyword == "scram_server_key" || keyword == "oauth_client_secret"
    }
}

extension ServerParameter: CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    package var description: String { "\(keyword)=\(shownValue)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
