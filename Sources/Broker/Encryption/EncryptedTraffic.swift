// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibSSL
import LibUV
import Logging
import PostgresWire

/// Clients with TLS: their handshake, and their bytes between the socket and the engine.
extension Broker {
    // MARK: The beginning

    /// Answers an SSLRequest.
    func encryptionRequested(by client: ClientConnection) {
        guard client.encryption == nil else {
            counters.protocolErrors += 1
            refuse(client, Self.encryptedAlready)
            return
        }
        guard !client.isUnix, let context = configured.clientTLS else {
            send([UInt8(ascii: "N")], to: client)
            return
        }
        send([UInt8(ascii: "S")], to: client)
        // One byte always has room, unless many were asked for and never read.
        guard !client.isClosed, client.unsentBytes == 0 else {
            close(client, because: "client does not read")
            return
        }
        encrypt(client, context, isDirect: false)
    }

    /// Whether the client begins with TLS itself, as PostgreSQL 17 lets it. Looks at the first byte of a
    /// client over TCP, and leaves it where it is.
    func beginsEncrypted(_ client: ClientConnection) -> Bool {
        guard !client.isUnix, let context = configured.clientTLS, let login = client.login,
            !login.hasSpoken, Descriptor.peek(client.descriptor) == Self.handshakeRecord
        else { return false }
        encrypt(client, context, isDirect: true)
        return true
    }

    /// The type of a TLS record with a message of the handshake.
    private static let handshakeRecord: UInt8 = 0x16

    private func encrypt(_ client: ClientConnection, _ context: TLSContext, isDirect: Bool) {
        do throws(TLSSetupError) {
            let stream = try TLSStream(context, descriptor: client.descriptor)
            client.encryption = ClientEncryption(
                stream, isDirect: isDirect, wanted: client.watcher?.watched ?? .readable)
        } catch {
            close(client, because: "no TLS session could be made: \(error.reason)")
        }
    }

    private func shakeHands(_ client: ClientConnection, _ encryption: ClientEncryption) {
        switch encryption.stream.handshake() {
        case .unfinished: return
        case .closed: close(client, because: "client left during the TLS handshake")
        case .failed(let reason): handshakeFailed(client, reason)
        case .done:
            counters.encryptedClients += 1
            if encryption.isDirect, !encryption.stream.hasNamedProtocol {
                counters.protocolErrors += 1
                refuse(client, Self.protocolNotNamed)
            } else if encryption.stream.peerName == .ambiguous {
                counters.loginFailures += 1
                refuse(client, Self.nameIsAmbiguous)
            } else {
                // What it has sent behind its handshake may be here already.
                receive(from: client, encryption)
            }
        }
    }

    private func handshakeFailed(_ client: ClientConnection, _ reason: String) {
        let error = PgError.fatal(.protocolViolation, "TLS handshake failed: \(reason)")
        noteRefusal(.encryption, error, of: client)
        if settings.logPoolerErrors {
            logger.warning(
                "TLS handshake failed",
                metadata: describe(
                    client,
                    with: [
                        "address": "\(client.origin)", "reason": "\(reason)",
                        LogLine.wordsKey: handshakeError(client, reason),
                    ]))
        }
        close(client, because: error.message)
    }

    // MARK: Traffic

    /// The socket is ready for something.
    func ready(_ events: FileEvents, _ client: ClientConnection, _ encryption: ClientEncryption) {
        let stream = encryption.stream
        if stream.isEstablished {
            let wanted = encryption.wanted
            let mayWrite =
                stream.awaits.contains(.bytesToWrite) ? events.mayRead : events.mayWrite
            let mayRead =
                stream.awaits.contains(.roomToRead)
                ? events.mayWrite && wanted.mayRead
                : events.contains(.readable) && wanted.contains(.readable)
                    || events.contains(.disconnect)
            if mayWrite, wanted.contains(.writable) { self.mayWrite(to: client) }
            if mayRead || events.isHungUp, !client.isClosed { receive(from: client, encryption) }
        } else {
            shakeHands(client, encryption)
        }
        guard !client.isClosed, !client.endWaits else { return }
        client.watcher?.watch(encryption.watched)
    }

    func receive(from client: ClientConnection, _ encryption: ClientEncryption) {
        let reading = engine.reading(of: client.id)
        switch reading {
        case .later: return
        case .atItsEnd: ended(client)
        case .now, .forTheShell: read(client, encryption, forTheShell: reading == .forTheShell)
        }
        dealWithNotices()
    }

    private func read(
        _ client: ClientConnection, _ encryption: ClientEncryption, forTheShell: Bool
    ) {
        let space = UnsafeMutableRawBufferPointer(start: readBuffer, count: Self.readSize)
        switch encryption.stream.read(into: space) {
        case .bytes(let count):
            take(UnsafeRawBufferPointer(rebasing: space[..<count]), from: client, forTheShell)
            if encryption.stream.hasBufferedInput { continueReading(client.id) }
        case .wouldBlock: break
        case .closed: ended(client)
        case .failed(let reason):
            engine.close(
                client.id, because: "reading from the client failed (\(reason))", now: now)
        }
    }

    // MARK: Refusals

    /// Whether a client that has sent its startup packet may go on as it came.
    func isEncryptedEnough(_ client: ClientConnection) -> Bool {
        client.isUnix || client.encryption != nil || !settings.clientTlsSslmode.requiresTLS
    }

    static let encryptionRequired = PgError.fatal(
        .invalidAuthorization, "SSL required",
        detail: "client_tls_sslmode lets clients in over TCP only with TLS.",
        hint: "Connect with sslmode=require or stricter, or over the Unix socket.")

    private static let encryptedAlready = PgError.fatal(
        .protocolViolation, "SSLRequest on a connection that has TLS already")

    private static let protocolNotNamed = PgError.fatal(
        .protocolViolation,
        "received direct SSL connection request without ALPN protocol negotiation extension",
        hint: "A client that begins with TLS has to name the protocol \"postgresql\" (ALPN).")

    private static let nameIsAmbiguous = PgError.fatal(
        .invalidAuthorization, "the common name of the client's certificate is not plain text",
        hint: "Programs would read it in different ways. Have another certificate made.")
}
