import LeaseCore
import PostgresWire

/// What the broker's shell does with lease commands.
extension RelayWorld {
    func relayMode(_ server: Int) -> RelayMode { servers[server].isExplicit ? mode.held : mode }

    func isDirect(_ index: Int) -> Bool {
        clients[index].server.map { servers[$0].isDirect } ?? false
    }

    mutating func carryOut(_ command: LeaseCommand, _ form: LeaseForm, for index: Int) {
        note("client \(index): \(command)")
        switch command {
        case .acquire(let terms): acquire(terms, form, for: index)
        case .giveBack: giveBack(form, for: index)
        }
    }

    // MARK: LEASE

    private mutating func acquire(_ terms: LeaseTerms, _ form: LeaseForm, for index: Int) {
        if let server = clients[index].server {
            if servers[server].isExplicit {
                answer(RelayBackendLeases.held, form, to: index)
                return
            }
            if servers[server].stream.status != .idle {
                answer(RelayBackendLeases.inTransaction, form, to: index)
                return
            }
            clients[index].call = (terms, form)
            if mode.pooling == .session {
                beginExplicitLease(server)
                answerLease(of: index)
                return
            }
            clients[index].server = nil
            servers[server].client = nil
            finishLease(server)
        }
        clients[index].call = (terms, form)
        clients[index].isWaiting = true
    }

    mutating func beginExplicitLease(_ server: Int) {
        servers[server].isExplicit = true
        servers[server].stream.hold()
    }

    /// Answers the LEASE that waits, once its server is prepared. Not into the middle of a message that
    /// is on its way, and no descriptor is handed out of which a part of one has been read.
    mutating func answerLease(of index: Int) {
        guard let call = clients[index].call, let server = clients[index].server,
            servers[server].isExplicit, !servers[server].holdsClientBytes,
            servers[server].stream.isQuiet, servers[server].carry.isEmpty
        else { return }
        clients[index].call = nil
        clients[index].held = (server, clients[index].followed)
        clients[index].hasReset = false
        note("client \(index) has its lease of server \(server)")
        if call.terms.isDirect, mode.pooling != .session {
            servers[server].isDirect = true
            clients[index].directlyRead = []
        }
        tell(index) {
            if call.form == .simple {
                $0.appendRowDescription([ColumnDescription(name: "lease")])
            }
            $0.appendDataRow(texts: ["lease"])
            $0.appendCommandComplete("LEASE")
            if call.form == .simple { $0.appendReadyForQuery(.idle) }
        }
        resume(index)
        settle(index)
    }

    private mutating func answer(_ error: PgError, _ form: LeaseForm, to index: Int) {
        let status = clients[index].server.map { servers[$0].stream.status } ?? .idle
        tell(index) {
            $0.appendErrorResponse(error)
            if form == .simple { $0.appendReadyForQuery(status) }
        }
        if form != .simple { clients[index].stream.failBatch() }
    }

    private mutating func tell(_ index: Int, _ write: (inout [UInt8]) -> Void) {
        write(&clients[index].received)
    }

    // MARK: LEASE RETURN

    private mutating func giveBack(_ form: LeaseForm, for index: Int) {
        guard let server = clients[index].server, servers[server].isExplicit else {
            answer(RelayBackendLeases.notHeld, form, to: index)
            return
        }
        if mode.pooling != .session, clients[index].held!.followed != clients[index].followed {
            violation = "a setting of its lease follows client \(index)"
        }
        clients[index].held = nil
        var isRolledBack = false
        if mode.pooling == .session {
            servers[server].isExplicit = false
        } else {
            isRolledBack = !servers[server].isDirect && servers[server].stream.status != .idle
            clients[index].server = nil
            servers[server].client = nil
            servers[server].orphanedBy = index
            giveBack(server)
        }
        let status = clients[index].server.map { servers[$0].stream.status } ?? .idle
        tell(index) {
            if isRolledBack { $0.appendNoticeResponse(RelayBackendLeases.rolledBack) }
            $0.appendCommandComplete("LEASE RETURN")
            if form == .simple { $0.appendReadyForQuery(status) }
        }
    }

    private mutating func giveBack(_ server: Int) {
        if servers[server].isDirect {
            takeBack(server)
        } else if servers[server].stream.status == .idle {
            finishLease(server)
        } else {
            ask(server, .rollback, "rollback")
        }
    }
}
