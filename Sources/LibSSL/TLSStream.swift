// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Glibc
import LibUV

/// What a read or write over TLS came to.
package enum TLSResult: Equatable, Sendable {
    case bytes(Int)
    /// Goes on when the descriptor is ready, for what `awaits` says.
    case wouldBlock
    /// The peer has said goodbye, or is gone.
    case closed
    case failed(String)
}

/// What the beginning of a session came to.
package enum TLSHandshake: Equatable, Sendable {
    case done
    /// Goes on when the descriptor is ready, for what `awaits` says.
    case unfinished
    case closed
    case failed(String)
}

/// The server's side of one TLS session over a non-blocking socket that somebody else owns (SSL).
///
/// It decrypts into its caller's buffer and encrypts out of it; of its own it has buffers only while a
/// record is half received or half sent. All that a peer can make it do in one call is bounded: how
/// often the socket is read, how many records are opened, and how many messages that are not data are
/// dealt with.
@safe
package final class TLSStream {
    /// The direction that a read, or a write, needs next, where it is not its own.
    package struct Awaits: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Reading, or the handshake, goes on when the socket has room.
        package static let roomToRead = Awaits(rawValue: 1)
        /// Writing goes on when the socket has bytes.
        package static let bytesToWrite = Awaits(rawValue: 2)
    }

    package private(set) var awaits: Awaits = []
    package private(set) var isEstablished = false
    private let ssl: OpaquePointer
    private let descriptor: Int32
    /// A fatal error is behind it: nothing more may be said, not even goodbye.
    private var isBroken = false
    /// What the socket has said last, if that was an end.
    private var end: IOResult?
    /// How it ends, found out behind bytes that were told of first.
    private var unsaid: TLSResult?
    private var readsLeft = 0
    private var stepsLeft = 0

    /// Socket reads in one call.
    private static let readsAtOnce = 4
    /// Records opened in one call: small ones must not keep the loop for as long as they come.
    private static let recordsAtOnce = 8
    /// Messages that are not data, in one call. No peer has a reason for two of them.
    private static let stepsAtOnce = 32

    package init(_ context: TLSContext, descriptor: Int32) throws(TLSSetupError) {
        ERR_clear_error()
        guard let ssl = unsafe SSL_new(context.context),
            let bio = unsafe socketMethod.flatMap({ unsafe BIO_new($0) })
        else { throw TLSSetupError(.library, TLSErrorQueue.take() ?? "no memory for a session") }
        unsafe self.ssl = unsafe ssl
        self.descriptor = descriptor
        // SAFETY: the session and its BIO live in this object, and are used only by its methods.
        let me = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe BIO_set_data(bio, me)
        unsafe BIO_set_init(bio, 1)
        unsafe SSL_set_bio(ssl, bio, bio)
        _ = unsafe SSL_set_ex_data(ssl, 0, me)
        unsafe SSL_set_accept_state(ssl)
    }

    deinit { unsafe SSL_free(ssl) }

    // MARK: The beginning

    /// SSL_do_handshake.
    package func handshake() -> TLSHandshake {
        if isEstablished { return .done }
        begin(steps: .max)
        let status = unsafe SSL_do_handshake(ssl)
        if status == 1 {
            isEstablished = true
            awaits = []
            return .done
        }
        switch outcome(status, forWriting: false) {
        case .bytes, .wouldBlock: return .unfinished
        case .closed: return .closed
        case .failed(let reason): return .failed(verificationFailure ?? reason)
        }
    }

    /// Why the peer's certificate was refused (SSL_get_verify_result).
    private var verificationFailure: String? {
        let code = unsafe SSL_get_verify_result(ssl)
        guard code != X509_V_OK, let text = unsafe X509_verify_cert_error_string(code) else {
            return nil
        }
        return unsafe "the client's certificate is refused: \(String(cString: text))"
    }

    // MARK: Data

    /// SSL_read, for as long as there is room and something has arrived already. May leave bytes that no
    /// event announces: read again while `hasBufferedInput`.
    package func read(into buffer: UnsafeMutableRawBufferPointer) -> TLSResult {
        if let unsaid { return unsaid }
        begin(steps: Self.stepsAtOnce)
        var filled = 0
        var records = 0
        repeat {
            // SAFETY: OpenSSL writes at most as much as is left of the buffer.
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
            let count = unsafe SSL_read(ssl, rest.baseAddress, Int32(clamping: rest.count))
            guard count > 0 else {
                let result = outcome(count, forWriting: false)
                guard filled > 0 else { return result }
                if result != .wouldBlock { unsaid = result }
                return .bytes(filled)
            }
            filled += Int(count)
            records += 1
        } while filled < buffer.count && records < Self.recordsAtOnce && hasBufferedInput
        awaits.remove(.roomToRead)
        return .bytes(filled)
    }

    /// SSL_write: what it took may be less than what was offered. The rest, at any place in memory, has to
    /// be offered again before anything else.
    package func write(_ buffer: UnsafeRawBufferPointer) -> TLSResult {
        begin(steps: Self.stepsAtOnce)
        var written = 0
        while written < buffer.count {
            // SAFETY: OpenSSL reads at most what is left of the buffer.
            let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[written...])
            let count = unsafe SSL_write(ssl, rest.baseAddress, Int32(clamping: rest.count))
            guard count > 0 else {
                let result = outcome(count, forWriting: true)
                // Reading tells of the end; what was taken was taken.
                return written > 0 ? .bytes(written) : result
            }
            written += Int(count)
        }
        awaits.remove(.bytesToWrite)
        return .bytes(written)
    }

    /// Something has been received that no event announces: whole records, the beginning of one, or the end
    /// (SSL_has_pending).
    package var hasBufferedInput: Bool { unsafe unsaid != nil || SSL_has_pending(ssl) == 1 }

    /// Says goodbye (SSL_shutdown) unless something went wrong. The peer's own is not waited for.
    package func close() {
        guard isEstablished, !isBroken else { return }
        isBroken = true
        begin(steps: Self.stepsAtOnce)
        _ = unsafe SSL_shutdown(ssl)
        ERR_clear_error()
    }

    /// For what is known of it.
    func withSession<Result>(_ body: (OpaquePointer) -> Result) -> Result { unsafe body(ssl) }

    // MARK: Outcomes

    private func begin(steps: Int) {
        ERR_clear_error()
        end = nil
        readsLeft = Self.readsAtOnce
        stepsLeft = steps
    }

    private func outcome(_ status: Int32, forWriting: Bool) -> TLSResult {
        let own: Awaits = forWriting ? .bytesToWrite : .roomToRead
        awaits.remove(own)
        let code = unsafe SSL_get_error(ssl, status)
        switch code {
        case SSL_ERROR_WANT_READ:
            if forWriting { awaits.insert(own) }
            return .wouldBlock
        case SSL_ERROR_WANT_WRITE:
            if !forWriting { awaits.insert(own) }
            return .wouldBlock
        case SSL_ERROR_ZERO_RETURN:
            return .closed
        default:
            isBroken = true
            if stepsLeft < 0 {
                ERR_clear_error()
                return .failed("TLS: too many messages that are not data")
            }
            return ending(code)
        }
    }

    private func ending(_ code: Int32) -> TLSResult {
        let reason = TLSErrorQueue.take()
        switch end {
        // An end without TLS's goodbye is how most clients leave; PostgreSQL's messages say where they end.
        case .closed: return .closed
        case .failed(let number):
            return unsafe .failed(String(cString: strerror(number)))
        case .bytes, .wouldBlock, nil:
            return .failed("TLS: \(reason ?? "error \(code)")")
        }
    }

    // MARK: Called by OpenSSL

    func noteStep() { stepsLeft -= 1 }

    /// recv(2), as often as one call may. nil is "again".
    fileprivate func receive(_ buffer: UnsafeMutableRawBufferPointer) -> Int? {
        if stepsLeft < 0 { return -1 }
        guard readsLeft > 0 else { return nil }
        readsLeft -= 1
        switch unsafe Descriptor.read(descriptor, into: buffer) {
        case .bytes(let count): return count
        case .wouldBlock: return nil
        case let other:
            end = other
            return -1
        }
    }

    fileprivate func send(_ buffer: UnsafeRawBufferPointer) -> Int? {
        switch unsafe Descriptor.write(descriptor, from: buffer) {
        case .bytes(let count): return count
        case .wouldBlock: return nil
        case let other:
            end = other
            return -1
        }
    }
}

// MARK: - The socket, as OpenSSL reaches it

/// BIO_meth_new, once: OpenSSL's own socket BIO would raise SIGPIPE, and read for as long as a peer sends.
private nonisolated(unsafe) let socketMethod: OpaquePointer? = {
    guard let method = unsafe BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pglease")
    else { return nil }
    unsafe BIO_meth_set_read(method, receiveThunk)
    unsafe BIO_meth_set_write(method, sendThunk)
    unsafe BIO_meth_set_ctrl(method, controlThunk)
    return unsafe method
}()

private func receiveThunk(
    _ bio: OpaquePointer?, _ buffer: UnsafeMutablePointer<CChar>?, _ count: Int32
) -> Int32 {
    // SAFETY: the stream outlives its session, and with it this BIO; the buffer has `count` bytes.
    let space = unsafe UnsafeMutableRawBufferPointer(start: buffer, count: Int(count))
    let taken = unsafe Unmanaged<TLSStream>.fromOpaque(BIO_get_data(bio)!)
        ._withUnsafeGuaranteedRef { unsafe $0.receive(space) }
    guard let taken else {
        unsafe pglease_bio_retry_read(bio)
        return -1
    }
    unsafe pglease_bio_clear_retry(bio)
    return Int32(taken)
}

private func sendThunk(
    _ bio: OpaquePointer?, _ buffer: UnsafePointer<CChar>?, _ count: Int32
) -> Int32 {
    // SAFETY: as above.
    let bytes = unsafe UnsafeRawBufferPointer(start: buffer, count: Int(count))
    let taken = unsafe Unmanaged<TLSStream>.fromOpaque(BIO_get_data(bio)!)
        ._withUnsafeGuaranteedRef { unsafe $0.send(bytes) }
    guard let taken else {
        unsafe pglease_bio_retry_write(bio)
        return -1
    }
    unsafe pglease_bio_clear_retry(bio)
    return Int32(taken)
}

/// Nothing is kept back that could be flushed; of everything else there is nothing.
private func controlThunk(
    _ bio: OpaquePointer?, _ command: Int32, _ number: Int, _ argument: UnsafeMutableRawPointer?
) -> Int {
    command == BIO_CTRL_FLUSH ? 1 : 0
}
