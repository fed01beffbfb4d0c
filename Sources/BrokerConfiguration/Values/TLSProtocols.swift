/// `server_tls_protocols`: the span of TLS versions, in libpq's spelling.
package struct TLSProtocols: Equatable, Sendable {
    package var minimum: String
    /// nil: no upper bound.
    package var maximum: String?

    package static let secure = TLSProtocols(minimum: "TLSv1.2", maximum: nil)
}
