// SPDX-License-Identifier: Apache-2.0

/// `client_tls_protocols` and `server_tls_protocols`: versions of TLS, in libpq's spelling, lowest first.
package struct TLSProtocols: Equatable, Sendable {
    /// Never empty.
    package let versions: [String]

    package static let known = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
    package static let secure = TLSProtocols(minimum: "TLSv1.2", maximum: nil)
    package static let all = TLSProtocols(minimum: "TLSv1", maximum: nil)

    /// nil for an empty set.
    init?(indices: Set<Int>) {
        if indices.isEmpty { return nil }
        versions = indices.sorted().map { Self.known[$0] }
    }

    /// A span; nil is no upper bound.
    package init(minimum: String, maximum: String?) {
        let first = Self.known.firstIndex(of: minimum) ?? 0
        let last = maximum.flatMap { Self.known.firstIndex(of: $0) } ?? Self.known.count - 1
        versions = Array(Self.known[first...max(first, last)])
    }

    package var minimum: String { versions[0] }

    /// nil: no upper bound.
    package var maximum: String? {
        versions.last == Self.known.last ? nil : versions.last
    }

    /// Whether a version in between is left out.
    package var hasGap: Bool { self != TLSProtocols(minimum: minimum, maximum: maximum) }
}
