// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// `metrics_listen`: where the broker answers HTTP.
package enum MetricsAddress: Equatable, Sendable {
    case unix(path: String)
    /// An empty host stands for all addresses.
    case tcp(host: String, port: UInt16)

    /// Nobody is asked who he is there: only this machine's processes should reach it.
    package var isLocal: Bool {
        switch self {
        case .unix: true
        case .tcp(let host, _): host == "localhost" || host == "::1" || host.hasPrefix("127.")
        }
    }
}

extension MetricsAddress {
    /// `host:port`, `[address]:port`, `*:port`, or an absolute path.
    init(_ text: String) throws(SettingValueError) {
        if text.hasPrefix("/") {
            guard text.utf8.count <= SocketFolder.longestPath, !text.hasSuffix("/") else {
                throw SettingValueError(
                    "\(quoted(text)) is not the path of a Unix socket",
                    advice: "a file's path of \(SocketFolder.longestPath) bytes at most")
            }
            self = .unix(path: text)
            return
        }
        let advice = "host:port, as 127.0.0.1:9127 or [::1]:9127, or the absolute path of a socket"
        guard let colon = text.lastIndex(of: ":"),
            let port = UInt16(text[text.index(after: colon)...]), port > 0
        else {
            throw SettingValueError("\(quoted(text)) has no port", advice: advice)
        }
        var host = String(text[..<colon])
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty, isBracketed == host.contains(":"),
            !host.contains(where: { $0 == "/" || $0 == "[" || $0 == "]" || $0.isWhitespace })
        else {
            throw SettingValueError("\(quoted(text)) names no host", advice: advice)
        }
        self = .tcp(host: host == "*" ? "" : host, port: port)
    }

    package var text: String {
        switch self {
        case .unix(let path): path
        case .tcp("", let port): "*:\(port)"
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }
}
