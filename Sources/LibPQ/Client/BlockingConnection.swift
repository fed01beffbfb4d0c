// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import COpenSSL
import Glibc

/// The one owner of a `PGconn` that a client works with: statements by libpq, waits by poll(2), each
/// of which a deadline or an interruption can end.
///
/// Invariant: one thread at a time uses it (it is handed from thread to thread, hence Sendable);
/// libpq is in non-blocking mode once connected; every call but `close` and `abandon` traps after
/// them.
@safe
package final class BlockingConnection: @unchecked Sendable {
    /// A notification that came with an answer or by itself.
    package struct Notification: Equatable, Sendable {
        package let channel: String
        package let payload: String
        package let processID: Int32
    }

    /// Ends the waits of this connection.
    package let wakeup: ThreadWakeup
    /// The process that connected: no other may send a byte.
    package let processID: Int32
    /// Takes NoticeResponses; called on the thread that works with the connection.
    package var onNotice: ((ServerMessage) -> Void)?
    private var handle: OpaquePointer?
    var direct: DirectDescriptor?
    package let cancelHandle: CancelHandle

    private init(owning handle: OpaquePointer, wakeup: ThreadWakeup, cancel: CancelHandle) {
        unsafe self.handle = unsafe handle
        self.wakeup = wakeup
        processID = getpid()
        cancelHandle = cancel
        // SAFETY: the receiver runs inside calls on this object only, which is alive then.
        _ = unsafe PQsetNoticeReceiver(
            handle, { context, result in unsafe BlockingConnection.receive(context, result) },
            Unmanaged.passUnretained(self).toOpaque())
    }

    deinit { close() }

    /// PQconnectStartParams and PQconnectPoll until the session stands. A `dbname` is never read as
    /// a connection string. Host names are resolved by libpq, which blocks for the resolver.
    ///
    /// Throws the server's refusal or libpq's reason; on an interruption or at the deadline nothing
    /// is left open.
    package static func connect(
        _ parameters: ConnectionParameters, wakeup: ThreadWakeup, patience: Patience
    ) throws -> BlockingConnection {
        var parameters = parameters
        parameters.append(("gssencmode", "disable"))
        let started = unsafe parameters.withNullTerminatedArrays { keywords, values in
            unsafe PQconnectStartParams(keywords, values, 0)
        }
        guard let handle = unsafe started else { throw ConnectionFailure(raw: "out of memory") }
        do {
            // With it the SQLSTATE is part of a failure's message, the only place that keeps it.
            _ = unsafe PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
            _ = unsafe PQsetNoticeProcessor(handle, { _, _ in }, nil)
            try unsafe finishConnecting(handle, wakeup: wakeup, patience: patience)
            guard let cancel = unsafe PQgetCancel(handle), unsafe PQsetnonblocking(handle, 1) == 0
            else { throw ConnectionFailure(raw: "out of memory") }
            return unsafe BlockingConnection(
                owning: handle, wakeup: wakeup, cancel: CancelHandle(owning: cancel))
        } catch {
            unsafe PQfinish(handle)
            throw error
        }
    }

    private static func finishConnecting(
        _ handle: OpaquePointer, wakeup: ThreadWakeup, patience: Patience
    ) throws {
        func failure() -> ConnectionFailure {
            unsafe ConnectionFailure(raw: ConnectionString.text(PQerrorMessage(handle)))
        }
        if unsafe PQstatus(handle) == CONNECTION_BAD { throw failure() }
        var events = Int16(POLLOUT)
        while true {
            try SocketWait(descriptor: unsafe PQsocket(handle), events: events)
                .wait(wakeup: wakeup, patience: patience)
            switch unsafe PQconnectPoll(handle) {
            case PGRES_POLLING_READING: events = Int16(POLLIN)
            case PGRES_POLLING_WRITING: events = Int16(POLLOUT)
            case PGRES_POLLING_OK: return
            default: throw failure()
            }
        }
    }

    // MARK: What libpq knows

    /// Connected, as far as libpq knows; false for ever once it has noticed a loss.
    package var isOpen: Bool {
        guard let handle = unsafe handle else { return false }
        return unsafe PQstatus(handle) == CONNECTION_OK
    }

    /// Whether a connection at rest is still there: reads what has come by itself, without waiting.
    package var isAlive: Bool {
        guard isOpen, processID == getpid() else { return false }
        let now = Patience(until: ContinuousClock.now)
        // A farewell comes before the end of the stream; who sends without end is no broker.
        for _ in 0..<16 {
            do {
                try waitForSocket(alsoWriting: false, now)
            } catch {
                return true
            }
            if unsafe PQconsumeInput(open) == 0 || PQisBusy(open) != 0 || !isOpen { return false }
        }
        return false
    }

    /// PQtransactionStatus.
    package var transaction: TransactionState {
        switch unsafe PQtransactionStatus(open) {
        case PQTRANS_IDLE: .idle
        case PQTRANS_ACTIVE: .active
        case PQTRANS_INTRANS: .open
        case PQTRANS_INERROR: .failed
        default: .unknown
        }
    }

    /// To a socket of this host: libpq knows no address then.
    package var isUnixSocket: Bool {
        // SAFETY: copied before the next call on the connection.
        let address = unsafe PQhostaddr(open).map { unsafe String(cString: $0) } ?? ""
        return address.isEmpty
    }

    package var backendProcessID: Int32 { unsafe PQbackendPID(open) }

    /// 150020 for 15.20.
    package var serverVersion: Int32 { unsafe PQserverVersion(open) }

    /// PQerrorMessage: why libpq gave up.
    package var failure: ConnectionFailure {
        guard let handle = unsafe handle else {
            return ConnectionFailure(raw: "the connection is closed")
        }
        return unsafe ConnectionFailure(raw: ConnectionString.text(PQerrorMessage(handle)))
    }

    package func parameterStatus(_ name: String) -> String? {
        // SAFETY: copied before the next call on the connection.
        unsafe PQparameterStatus(open, name).map { unsafe String(cString: $0) }
    }

    /// The next notification that has been read (PQnotifies).
    package func takeNotification() -> Notification? {
        guard let found = unsafe PQnotifies(open) else { return nil }
        // SAFETY: libpq gives the block away; both texts lie inside it.
        defer { unsafe PQfreemem(found) }
        return unsafe Notification(
            channel: String(cString: found.pointee.relname),
            payload: String(cString: found.pointee.extra), processID: found.pointee.be_pid)
    }

    /// PQescapeLiteral and its like are not needed: values go as parameters, names by
    /// `quotedIdentifier`.
    private static func receive(_ context: UnsafeMutableRawPointer?, _ result: OpaquePointer?) {
        guard let context = unsafe context, let result = unsafe result else { return }
        let connection =
            unsafe Unmanaged<BlockingConnection>.fromOpaque(context).takeUnretainedValue()
        unsafe connection.onNotice?(ServerMessage(result))
    }

    // MARK: Waiting

    /// Waits until the socket can be read, or written when asked for.
    func waitForSocket(alsoWriting: Bool, _ patience: Patience) throws(WaitFailure) {
        if !alsoWriting && hasBufferedInput { return }
        let events = Int16(POLLIN) | (alsoWriting ? Int16(POLLOUT) : 0)
        try SocketWait(descriptor: unsafe PQsocket(open), events: events)
            .wait(wakeup: wakeup, patience: patience)
    }

    /// TLS may hold bytes that the socket no longer shows.
    private var hasBufferedInput: Bool {
        guard unsafe PQsslInUse(open) != 0,
            let tls = unsafe PQsslStruct(open, "OpenSSL").map({ OpaquePointer($0) })
        else { return false }
        return unsafe SSL_pending(tls) > 0
    }

    // MARK: The end

    /// PQfinish, with a Terminate when the process is the one that connected. A direct descriptor
    /// and what was set aside for it go too.
    package func close() {
        guard let handle = unsafe handle else { return }
        if processID != getpid() {
            abandon()
            return
        }
        // A Terminate is for the broker, never for a server connection that is only borrowed.
        direct?.restore(to: unsafe PQsocket(handle))
        direct = nil
        unsafe self.handle = nil
        unsafe PQfinish(handle)
    }

    /// `close`, and returns once the server has ended it too: then its place is free. At the deadline in any case.
    package func closeAndWait(_ patience: Patience) {
        guard let handle = unsafe handle, direct == nil, processID == getpid() else {
            close()
            return
        }
        let copy = fcntl(unsafe PQsocket(handle), F_DUPFD_CLOEXEC, 0)
        close()
        guard copy >= 0 else { return }
        defer { _ = Glibc.close(copy) }
        let wait = SocketWait(descriptor: copy, events: Int16(POLLIN))
        while (try? wait.wait(wakeup: wakeup, patience: patience)) != nil {
            var word = 0
            // SAFETY: the kernel writes at most the size of `word`.
            let count = unsafe recv(copy, &word, MemoryLayout<Int>.size, Int32(MSG_DONTWAIT))
            if count > 0 || count < 0 && (errno == EINTR || errno == EAGAIN) { continue }
            return
        }
    }

    /// shutdown(2) of a connection that cannot be trusted any more, then PQfinish.
    package func destroy() {
        guard let handle = unsafe handle else { return }
        if processID == getpid(), direct == nil, unsafe PQsocket(handle) >= 0 {
            _ = Glibc.shutdown(unsafe PQsocket(handle), Int32(SHUT_RDWR))
        }
        close()
    }

    /// In a forked child: lets go of what is the parent's without a byte on the shared sockets.
    package func abandon() {
        guard let handle = unsafe handle else { return }
        let null = unsafe Glibc.open("/dev/null", O_RDWR | O_CLOEXEC)
        let socket = unsafe PQsocket(handle)
        if socket >= 0, null >= 0 { _ = pglease_replace_descriptor(null, socket) }
        if null >= 0 { _ = Glibc.close(null) }
        direct?.discard()
        direct = nil
        unsafe self.handle = nil
        // Without a descriptor to put in its place the PGconn is given up with its memory: PQfinish
        // would write a Terminate.
        if null >= 0 { unsafe PQfinish(handle) }
    }

    var open: OpaquePointer {
        guard let handle = unsafe handle else {
            preconditionFailure("a closed connection was used")
        }
        return unsafe handle
    }

    package var isClosed: Bool { unsafe handle == nil }
}

/// PQtransactionStatus in Swift's words.
package enum TransactionState: Equatable, Sendable {
    case idle
    /// A statement is under way.
    case active
    case open
    case failed
    case unknown
}

/// One poll(2) on a socket and a wakeup.
struct SocketWait {
    let descriptor: Int32
    let events: Int16

    func wait(wakeup: ThreadWakeup, patience: Patience) throws(WaitFailure) {
        while true {
            if patience.interruption?.isRequested == true { throw .interrupted }
            var wanted = (
                pollfd(fd: descriptor, events: events, revents: 0),
                pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0)
            )
            let timeout = pollTimeout(until: patience.deadline)
            // SAFETY: a tuple of two equal structs lies in memory like an array of them.
            let count = unsafe withUnsafeMutableBytes(of: &wanted) { bytes in
                unsafe poll(bytes.baseAddress!.assumingMemoryBound(to: pollfd.self), 2, timeout)
            }
            if count > 0 {
                if wanted.1.revents != 0 { wakeup.drain() }
                if wanted.0.revents != 0 { return }
            } else if count == 0, let deadline = patience.deadline,
                deadline <= ContinuousClock.now
            {
                throw .timedOut
            }
        }
    }
}
