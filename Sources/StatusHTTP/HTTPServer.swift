// SPDX-License-Identifier: Apache-2.0

import CMicroHTTPD
package import LibUV

/// A small HTTP server for figures: GET and HEAD, one request for each connection, whole answers.
///
/// Owns the listener, libmicrohttpd's daemon and, through it, the connections. The daemon has no thread:
/// the loop watches its epoll descriptor and gives it the time that it asks for. `close()` must have
/// been called before the object goes.
///
/// A slow client costs its connection and nothing else: it has `requestTime` to ask and `answerTime` to
/// read, and when all places are taken the one whose time is up first makes room for the next.
@safe
package final class HTTPServer: FileWatcherDelegate {
    package struct Limits: Sendable {
        package var connections = 32
        /// Nanoseconds for the whole request.
        package var requestTime: Int64 = 5_000_000_000
        /// Nanoseconds for the whole answer.
        package var answerTime: Int64 = 20_000_000_000
        /// For the request line and the headers.
        package var requestBytes = 16_384

        package init() {}
    }

    /// Every answer says so: figures are of the moment, and of no use to another page.
    private static let headers = [
        ("Connection", "close"), ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
    ]
    /// How often the daemon may go on at once before the rest of the loop has its turn.
    private static let passes = 4

    private let loop: EventLoop
    private let limits: Limits
    private let handler: (HTTPRequest) -> HTTPResponse
    private var daemon: OpaquePointer?
    private var listener: Listener?
    private var watcher: FileWatcher?
    private var timer: LoopTimer?
    /// When each connection must be done with what it does, by descriptor.
    private var deadlines: [Int32: Int64] = [:]

    /// Listens before it returns. `mode` and `group` are those of a Unix socket's file.
    package init(
        loop: EventLoop, address: Listener.Address, mode: UInt16? = nil, group: UInt32? = nil,
        limits: Limits = Limits(), handed: HandedSockets? = nil,
        onError: @escaping (UVError) -> Void, handler: @escaping (HTTPRequest) -> HTTPResponse
    ) throws(UVError) {
        self.loop = loop
        self.limits = limits
        self.handler = handler
        do throws(UVError) {
            try startDaemon()
            timer = try LoopTimer(loop: loop) { [unowned self] in self.proceed() }
            listener = try Listener(
                loop: loop, address: address, backlog: 64, mode: mode, group: group, handed: handed,
                onAccept: { [unowned self] in self.accepted($0) }, onError: onError)
        } catch {
            close()
            throw error
        }
    }

    deinit { precondition(unsafe daemon == nil, "an HTTP server was dropped without close()") }

    /// The numeric addresses it listens on; none for a Unix socket.
    package var tcpAddresses: [SocketAddress] { listener?.tcpAddresses ?? [] }

    /// What another process needs to listen in its place.
    package var handedOut: [HandedSockets.Socket] { listener?.handedOut ?? [] }

    /// What was taken over from another process is this one's from here on.
    package func claim() { listener?.claim() }

    /// Another process listens in its place from here on. To be followed by `close()`.
    package func surrender() { listener?.surrender() }

    package var connectionCount: Int { deadlines.count }

    /// Ends its connections, and removes the socket file. Idempotent; not from inside the handler.
    package func close() {
        listener?.close()
        listener = nil
        watcher?.close()
        watcher = nil
        timer?.close()
        timer = nil
        if let daemon = unsafe daemon { unsafe MHD_stop_daemon(daemon) }
        unsafe daemon = nil
    }

    private func startDaemon() throws(UVError) {
        // SAFETY: the daemon is stopped in close(), which the object does not outlive unclosed.
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        let timeout = UInt32(limits.answerTime / 1_000_000_000) + 1
        // One place is kept for the newcomer that another makes room for.
        unsafe daemon = unsafe pglease_http_start(
            answerThunk, changedThunk, context, UInt32(limits.connections * 2),
            timeout, limits.requestBytes)
        guard let daemon = unsafe daemon else {
            throw UVError(
                code: -12, call: "MHD_start_daemon",
                message: "the HTTP server could not be started")
        }
        let watcher = try FileWatcher(
            loop: loop, descriptor: unsafe pglease_http_epoll_descriptor(daemon))
        watcher.delegate = self
        watcher.watch(.readable)
        self.watcher = watcher
    }

    // MARK: Connections

    private func accepted(_ descriptor: Int32) {
        guard let daemon = unsafe daemon else { return Descriptor.close(descriptor) }
        if deadlines.count >= limits.connections { makeRoom() }
        if !Descriptor.isUnixSocket(descriptor) {
            // What fails here fails again when the client is answered.
            try? Descriptor.setTCPOptions(descriptor, Descriptor.TCPOptions())
        }
        // It is closed by the daemon where it is not wanted.
        _ = unsafe pglease_http_add(daemon, descriptor)
        proceed()
    }

    private func makeRoom() {
        guard let next = deadlines.min(by: { $0.value < $1.value }) else { return }
        cutOff(next.key)
        proceed()
    }

    /// The daemon sees the end of it and closes it.
    private func cutOff(_ descriptor: Int32) {
        Descriptor.shutdown(descriptor)
        // Once is enough; it is out of the reckoning until it is closed.
        deadlines[descriptor] = .max
    }

    package func fileReady(_ events: FileEvents, error: UVError?) { proceed() }

    /// Lets the daemon go on, and comes back when it wants to.
    private func proceed() {
        let now = loop.now
        for (descriptor, deadline) in deadlines where deadline <= now { cutOff(descriptor) }
        guard let daemon = unsafe daemon else { return }
        var wait: UInt64 = 0
        var hasWait = false
        for _ in 0..<Self.passes {
            _ = unsafe MHD_run(daemon)
            hasWait = unsafe MHD_get_timeout(daemon, &wait) == .YES
            if !hasWait || wait > 0 { break }
        }
        var next = deadlines.values.min() ?? .max
        if hasWait { next = min(next, now + Int64(clamping: wait) * 1_000_000) }
        if next == .max { timer?.disarm() } else { timer?.arm(at: next) }
    }

    // MARK: What the daemon calls

    fileprivate func changed(_ connection: OpaquePointer, isNew: Bool) {
        let descriptor = unsafe pglease_http_descriptor(connection)
        deadlines[descriptor] = isNew ? loop.now + limits.requestTime : nil
    }

    fileprivate func answer(
        _ connection: OpaquePointer, path: String, method: String
    ) -> MHD_Result {
        let descriptor = unsafe pglease_http_descriptor(connection)
        if deadlines[descriptor] != .max {
            deadlines[descriptor] = loop.now + limits.answerTime
        }
        let response: HTTPResponse
        if method == "GET" || method == "HEAD" {
            response = handler(
                HTTPRequest(
                    path: path, host: unsafe header("Host", of: connection),
                    accept: unsafe header("Accept", of: connection)))
        } else {
            var refusal = HTTPResponse.text("only GET and HEAD", status: 405)
            refusal.headers = [("Allow", "GET, HEAD")]
            response = refusal
        }
        return unsafe queue(response, on: connection)
    }

    private func header(_ name: String, of connection: OpaquePointer) -> String? {
        // SAFETY: the value lives as long as the request.
        let value = unsafe pglease_http_header(connection, name)
        return unsafe value.map { unsafe String(cString: $0) }
    }

    private func queue(_ response: HTTPResponse, on connection: OpaquePointer) -> MHD_Result {
        // SAFETY: the library takes its own copy of the bytes before it returns.
        let made = unsafe response.body.withUnsafeBytes { bytes in
            unsafe pglease_http_response(bytes.baseAddress, bytes.count)
        }
        guard let made = unsafe made else { return .NO }
        defer { unsafe MHD_destroy_response(made) }
        var isComplete =
            unsafe MHD_add_response_header(made, "Content-Type", response.contentType) == .YES
        for (name, value) in Self.headers + response.headers {
            isComplete = unsafe MHD_add_response_header(made, name, value) == .YES && isComplete
        }
        guard isComplete else { return .NO }
        return unsafe MHD_queue_response(connection, response.status, made)
    }
}

/// MHD_AccessHandlerCallback: first for the headers, then for each part of a body, which nobody wants,
/// then for the answer.
private func answerThunk(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
    _ path: UnsafePointer<CChar>?, _ method: UnsafePointer<CChar>?, _: UnsafePointer<CChar>?,
    _: UnsafePointer<CChar>?, _ bodyBytes: UnsafeMutablePointer<Int>?,
    _ mark: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    // SAFETY: all of them are there as long as the call lasts, by the library's word.
    guard unsafe mark!.pointee != nil else {
        unsafe mark!.pointee = context
        return .YES
    }
    guard unsafe bodyBytes!.pointee == 0 else {
        unsafe bodyBytes!.pointee = 0
        return .YES
    }
    let (path, method) = unsafe (String(cString: path!), String(cString: method!))
    return unsafe Unmanaged<HTTPServer>.fromOpaque(context!)
        ._withUnsafeGuaranteedRef { unsafe $0.answer(connection!, path: path, method: method) }
}

/// MHD_NotifyConnectionCallback: before the first byte, and before the descriptor is closed.
private func changedThunk(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
    _: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ change: MHD_ConnectionNotificationCode
) {
    // SAFETY: the daemon is stopped before its server goes.
    unsafe Unmanaged<HTTPServer>.fromOpaque(context!)._withUnsafeGuaranteedRef {
        unsafe $0.changed(connection!, isNew: pglease_http_is_start(change))
    }
}
