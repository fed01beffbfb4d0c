// SPDX-License-Identifier: Apache-2.0

/// What a client asks for: the path without its query, of whom, and which forms of the answer it takes.
package struct HTTPRequest: Equatable, Sendable {
    package var path: String
    /// The Host header: the name by which the client calls the server.
    package var host: String?
    /// The Accept header.
    package var accept: String?

    package init(path: String, host: String? = nil, accept: String? = nil) {
        self.path = path
        self.host = host
        self.accept = accept
    }

    /// Whether it was called by an address or as localhost. A web page from elsewhere whose name was
    /// turned to point here calls us by that name.
    package var namesThisMachine: Bool {
        guard let host, !host.isEmpty else { return true }
        if host.hasPrefix("[") { return true }
        let name = host.prefix { $0 != ":" }.lowercased()
        return name == "localhost" || name.hasSuffix(".localhost")
            || name.utf8.allSatisfy { $0 == 0x2E || (0x30...0x39).contains($0) }
    }
}

/// A whole answer. A HEAD request gets it without the body.
package struct HTTPResponse: Equatable, Sendable {
    package var status: UInt32
    package var contentType: String
    package var body: [UInt8]
    /// Beside Content-Type, Content-Length and what every answer carries.
    package var headers: [(name: String, value: String)] = []

    package init(status: UInt32 = 200, contentType: String, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// A line for people and probes.
    package static func text(_ text: String, status: UInt32 = 200) -> HTTPResponse {
        HTTPResponse(
            status: status, contentType: "text/plain; charset=utf-8",
            body: Array((text + "\n").utf8))
    }

    package static func == (left: HTTPResponse, right: HTTPResponse) -> Bool {
        left.status == right.status && left.contentType == right.contentType
            && left.body == right.body && left.headers.elementsEqual(right.headers, by: ==)
    }
}
