// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import COpenSSL
import Glibc

/// The one owner of a `PGconn`: connects without blocking, then lends its socket, or its TLS stream,
/// for raw protocol bytes.
///
/// Invariant: one thread at a time uses it (it may be handed from a worker to the loop, hence
/// Sendable), and every call but `close` traps after `close`. The descriptor is libpq's: it goes with
/// `close`, before which its watcher must be closed.
@safe
package final class PostgresConnection: @unchecked Sendable {
    /// What PQconnectPoll waits for. The descriptor may be another one after every `poll`.
    package enum Progress: Equatable, Sendable {
        case reading, writing, connected, failed
    }

    /// What the GUC_REPORT parameters of PostgreSQL 9 to 18 are called.
    package static let reportedParameters = [
        "application_name", "client_encoding", "DateStyle", "default_transaction_read_only",
        "in_hot_standby", "integer_datetimes", "IntervalStyle", "is_superuser", "scram_iterations",
        "search_path", "server_encoding", "server_version", "session_authorization",
        "standard_conforming_strings", "TimeZone",
    ]

    private var handle: OpaquePointer?
    /// Known once connected, so that the relay asks libpq for nothing.
    private(set) var tls: OpaquePointer?
    private(set) var relayDescriptor: Int32 = -1
    private let startFailure: String?
    private let notices = LoginNotices()
    /// What TLS said to `peek`, which it does not say twice.
    var peekFailure: String?

    private init(handle: OpaquePointer?) {
        unsafe self.handle = unsafe handle
        startFailure = unsafe handle == nil ? "out of memory" : nil
    }

    deinit { close(sendTerminate: false) }

    /// PQconnectStartParams. Keywords stand for themselves: a `dbname` is never read as a connection
    /// string, since it may come from a client. Names are to be resolved before (`HostPlan`);
    /// with a name in it, this call and `poll` block for the resolver.
    ///
    /// `password` is one that is no UTF-8 text, and so not among the parameters.
    package static func start(
        parameters: ConnectionParameters, password: [UInt8]? = nil
    ) -> PostgresConnection {
        var parameters = parameters
        if parameters.value(of: "gssencmode") == nil {
            parameters.append(("gssencmode", "disable"))
        }
        let handle = unsafe parameters.withNullTerminatedArrays(password: password) {
            keywords, values in
            unsafe PQconnectStartParams(keywords, values, 0)
        }
        if let handle = unsafe handle {
            // With it the SQLSTATE is part of a failure's message, the only place that keeps it.
            _ = unsafe PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
        }
        let connection = unsafe PostgresConnection(handle: handle)
        unsafe connection.notices.receive(from: handle)
        return connection
    }

    /// PQconnectPoll. Before the first call, wait until `descriptor` is writable; before every call,
    /// close its watcher, for libpq may close the descriptor and open another of the same number.
    package func poll() -> Progress {
        if hasFailed { return .failed }
        switch unsafe PQconnectPoll(open) {
        case PGRES_POLLING_READING: return .reading
        case PGRES_POLLING_WRITING: return .writing
        case PGRES_POLLING_OK: return settle() ? .connected : .failed
        default: return .failed
        }
    }

    /// PQsocket; -1 without one.
    package var descriptor: Int32 { unsafe startFailure == nil ? PQsocket(open) : -1 }

    /// Connected, as far as libpq knows.
    package var isOpen: Bool {
        guard let handle = unsafe handle else { return false }
        return unsafe PQstatus(handle) == CONNECTION_OK
    }

    /// `start` or `poll` has failed, or libpq has noticed a loss; `failure` says why.
    package var hasFailed: Bool { unsafe startFailure != nil || PQstatus(open) == CONNECTION_BAD }

    package var isClosed: Bool { unsafe handle == nil && startFailure == nil }

    /// Why `poll` failed (PQerrorMessage).
    package var failure: ConnectionFailure {
        if let startFailure { return ConnectionFailure(raw: startFailure) }
        let text = unsafe ConnectionString.text(PQerrorMessage(open))
        return unsafe ConnectionFailure(
            raw: peekFailure.map { "\(text): \($0)" } ?? text,
            needsPassword: PQconnectionNeedsPassword(open) == 1)
    }

    package var backendProcessID: Int32 { unsafe PQbackendPID(open) }

    /// 150020 for 15.20.
    package var serverVersion: Int32 { unsafe PQserverVersion(open) }

    package var usesTLS: Bool { unsafe PQsslInUse(open) != 0 }

    /// Protocol and cipher, nil without TLS.
    package var tlsDescription: String? {
        guard usesTLS else { return nil }
        let version = unsafe text(PQsslAttribute(open, "protocol")) ?? "TLS"
        let cipher = unsafe text(PQsslAttribute(open, "cipher")) ?? "unknown cipher"
        return "\(version) \(cipher)"
    }

    /// The host of the list that it is connected to: a name, an address or a socket's folder.
    package var host: String? { unsafe text(PQhost(open)) }

    package var port: String? { unsafe text(PQport(open)) }

    /// The numeric address, empty for a Unix socket.
    package var hostAddress: String? { unsafe text(PQhostaddr(open)) }

    /// What the server has said during the login besides its parameters: NoticeResponse messages, whole.
    package var loginNotices: [UInt8] { notices.messages }

    package func parameterStatus(_ name: String) -> String? {
        unsafe text(PQparameterStatus(open, name))
    }

    /// What a cancel request needs (PQgetCancel). Nil before the connection is made.
    package func makeCancelHandle() -> CancelHandle? {
        guard let cancel = unsafe PQgetCancel(open) else { return nil }
        return unsafe CancelHandle(owning: cancel)
    }

    /// Ends the connection at once, so that the server's next write fails: then PostgreSQL runs nothing of what it has
    /// received and not begun. A Unix socket sees to that by shutdown(2), TCP by a reset (connect(2) to AF_UNSPEC), as
    /// behind a mere FIN the first write succeeds. One that is shared with other processes is shut down only: what a
    /// client has must end as libpq expects it.
    package func shutdown(isShared: Bool = false) {
        let descriptor = self.descriptor
        guard descriptor >= 0 else { return }
        if !isShared, host?.hasPrefix("/") == false {
            var nowhere = sockaddr()
            nowhere.sa_family = sa_family_t(AF_UNSPEC)
            // SAFETY: the kernel reads the address during the call. Where it fails, shutdown does what it can.
            _ = unsafe Glibc.connect(
                descriptor, &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
        }
        // ENOTCONN: the server was faster.
        _ = Glibc.shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// PQfinish. Never blocks: the connection is in non-blocking mode, where libpq drops what it
    /// cannot send. Terminate is sent only when asked for, and only wanted when the stream stands
    /// between two messages; else the socket is shut down first, so that no byte of it goes out. One that is
    /// shared with other processes, which is never one with TLS, is shut down in any case.
    package func close(sendTerminate: Bool, isShared: Bool = false) {
        guard let handle = unsafe handle else { return }
        if !sendTerminate { shutdown(isShared: isShared) } else if isShared { terminateForAll() }
        unsafe self.handle = nil
        unsafe tls = nil
        relayDescriptor = -1
        unsafe PQfinish(handle)
    }

    /// Says goodbye, and lets no process that shares the socket say more: it may have left half a message in
    /// the stream, in which Terminate is not seen. The server's last words can still be read.
    private func terminateForAll() {
        let terminate: [UInt8] = [UInt8(ascii: "X"), 0, 0, 0, 4]
        // SAFETY: the kernel reads the array's bytes. What it does not take, the end of file says as well.
        _ = unsafe terminate.withUnsafeBytes {
            unsafe Glibc.send(
                descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
        _ = Glibc.shutdown(descriptor, Int32(SHUT_WR))
    }

    var open: OpaquePointer {
        guard let handle = unsafe handle else {
            preconditionFailure("a closed connection was used")
        }
        return unsafe handle
    }

    /// The connection is made: from here on nothing may block in it.
    private func settle() -> Bool {
        if unsafe PQsetnonblocking(open, 1) != 0 { return false }
        relayDescriptor = unsafe PQsocket(open)
        guard usesTLS else { return true }
        unsafe tls = unsafe PQsslStruct(open, "OpenSSL").map { OpaquePointer($0) }
        guard let tls = unsafe tls else { return false }
        unsafe pglease_ssl_allow_partial_writes(tls)
        return true
    }

    private func text(_ pointer: UnsafePointer<CChar>?) -> String? {
        guard let pointer = unsafe pointer else { return nil }
        return unsafe String(cString: pointer)
    }
}
