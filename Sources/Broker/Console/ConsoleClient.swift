// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import LibUV
import Logging
import PostgresWire

/// Clients of the console: their login, and their bytes.
extension Broker {
    /// The client is authenticated and asked for a database that is the console.
    func openConsole(_ client: ClientConnection) {
        guard let privilege = consolePrivilege(of: client) else {
            refuse(client, Self.consoleRefused(client.user))
            return
        }
        client.keyProcessID = engine.processID(toldTo: client.id)
        registerCancelKey(client)
        let session = ConsoleSession(
            privilege: privilege, user: client.user, database: client.database,
            applicationName: client.applicationName, processID: client.keyProcessID,
            terms: Self.consoleTerms)
        var bytes: [UInt8] = []
        bytes.appendAuthenticationOk()
        appendPgbouncerParameters(nil, to: &bytes)
        let parameters = BaseParameters.set(
            serverVersion: Self.consoleTerms.serverVersion, user: client.user,
            isSuperuser: privilege == .administrator)
        for (name, value) in parameters {
            bytes.appendParameterStatus(
                name: name, value: name == "application_name" ? client.applicationName : value)
        }
        bytes.appendBackendKeyData(
            processID: client.keyProcessID, secretKey: client.keySecret, rest: client.keyRest)
        appendLoginNotice(to: &bytes)
        bytes.appendReadyForQuery(.idle)
        client.console = session
        directory.clientCounts.join(database: client.database, user: client.user)
        engine.openConsole(client.id)
        client.login = nil
        telemetry.history.console.logins += 1
        if settings.logConnections {
            logger.info("client logged in", metadata: describeLogin(client))
        }
        send(bytes, to: client)
    }

    private static let consoleTerms = ConsoleTerms(version: ProductVersion.text) {
        Configuration.isSetting($0)
    }

    /// With auth_type any everybody is an administrator, as in pgbouncer. Who is named in the configuration has that privilege, also where the peer's uid would give more: a
    /// monitor that runs as the broker's user and logs in as one of `stats_users` only looks.
    private func consolePrivilege(of client: ClientConnection) -> ConsoleSession.Privilege? {
        if settings.authType == .any || settings.adminUsers.contains(client.user) {
            return .administrator
        }
        if settings.statsUsers.contains(client.user) { return .statistics }
        return client.peer.map(isOwner) == true ? .administrator : nil
    }

    private static func consoleRefused(_ user: String) -> PgError {
        .fatal(
            .invalidAuthorization, "not allowed",
            detail: "User \"\(user)\" may not use the console.",
            hint: "Add the user to admin_users or stats_users, or connect over the Unix socket"
                + " as the user that the broker runs as.")
    }

    // MARK: Messages

    /// Answers the messages that are there, in one write. Returns how many bytes are dealt with.
    func console(_ bytes: UnsafeRawBufferPointer, from client: ClientConnection) -> Int {
        guard let session = client.console else {
            preconditionFailure("a client without a console session speaks to the console")
        }
        if session.wait != nil { return 0 }
        engine.noteRequest(client.id, now: now)
        telemetry.history.console.bytesReceived += bytes.count
        let backend = ConsoleAnswers(broker: self, client: client)
        var reply: [UInt8] = []
        var offset = 0
        while client.phase == .console, session.wait == nil,
            bytes.count - offset >= MessageHeader.size
        {
            let header = MessageHeader(bytes, at: offset)
            guard (0...Self.longestConsoleMessage).contains(header.bodyLength) else {
                endConsole(client, reply, Self.messageTooLong(header.bodyLength))
                return bytes.count
            }
            let start = offset + MessageHeader.size
            guard bytes.count - start >= header.bodyLength else { break }
            let body = UnsafeRawBufferPointer(rebasing: bytes[start..<start + header.bodyLength])
            offset = start + header.bodyLength
            let kind = FrontendKind(rawValue: header.kind)
            if kind == .query || kind == .execute { telemetry.history.console.queries += 1 }
            let step = session.receive(kind, body, backend, into: &reply)
            for error in session.takeRefusals() { logConsoleError(client, error) }
            switch step {
            case .goesOn:
                guard client.unsentBytes + reply.count <= Self.longestConsoleBacklog else {
                    endConsole(client, [], Self.answersNotRead)
                    return bytes.count
                }
            case .terminated:
                send(reply, to: client)
                close(client, because: "client said goodbye")
                return bytes.count
            case .malformed(let error):
                endConsole(client, reply, error)
                return bytes.count
            }
        }
        if session.wait != nil {
            // An extended batch ends with its Sync, which is still to come.
            session.heldReply += reply
            operators.waiting.insert(client.id)
            lookAtConsoleWaits(now)
            return offset
        }
        telemetry.history.console.bytesSent += reply.count
        send(reply, to: client)
        if let order = session.afterwards {
            session.afterwards = nil
            carryOut(order)
        }
        return client.phase == .console ? offset : bytes.count
    }

    /// Longer than any command.
    private static let longestConsoleMessage = 65_536
    /// Answers that a client asked for and has not read: one answer about ten thousand clients is a tenth.
    private static let longestConsoleBacklog = 64 << 20

    private func endConsole(_ client: ClientConnection, _ reply: [UInt8], _ error: PgError) {
        counters.protocolErrors += 1
        send(reply, to: client)
        refuse(client, error)
    }

    private static func messageTooLong(_ length: Int) -> PgError {
        .fatal(
            .protocolViolation,
            length < 0
                ? "invalid message length"
                : "message of \(length) bytes is too long for the console",
            detail: "The console takes messages of up to \(longestConsoleMessage) bytes.")
    }

    private static let answersNotRead = PgError.fatal(
        .programLimitExceeded, "too many answers of the console are unread",
        hint: "Read the answers before asking for more.")

    private func carryOut(_ order: ConsoleOrder) {
        switch order {
        case .shutDown(let mode): shutDown(mode)
        }
    }
}
