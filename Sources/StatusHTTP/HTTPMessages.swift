/// What a client asks for: the path without its query, and which forms of the answer it takes.
package struct HTTPRequest: Equatable, Sendable {
    package var path: String
    /// The Accept header.
    package var accept: String?

    package init(path: String, accept: String? = nil) {
        self.path = path
        self.accept = accept
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
