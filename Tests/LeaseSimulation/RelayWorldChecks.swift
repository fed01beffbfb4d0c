import LeaseCore

/// The promises, after every step and at the end.
extension RelayWorld {
    func check() throws(Violation) {
        for (index, client) in clients.enumerated() {
            if let held = client.held, client.server != held.server {
                throw Violation(
                    description: "client \(index) holds server \(held.server), and has"
                        + " \(client.server.map { "server \($0)" } ?? "none")")
            }
            guard let server = client.server else { continue }
            if servers[server].client != index {
                throw Violation(description: "client \(index) holds a server that it was not lent")
            }
        }
        for (index, server) in servers.enumerated() {
            guard let client = server.client else { continue }
            if clients[client].server != index || !server.isLeased || server.returning != nil {
                throw Violation(description: "server \(index) is lent to a client that has it not")
            }
        }
    }

    /// Everyone is done: nothing may be left over.
    mutating func finish() throws(Violation) {
        for (index, client) in clients.enumerated() {
            let mine = committed.filter { $0.hasPrefix("c\(index).") }
            let direct = client.program.committed
            if !hasFaults, mine != direct, !client.isGone || client.hasSaidGoodbye {
                throw Violation(
                    description: "client \(index) committed \(mine.sorted()), directly it would"
                        + " be \(direct.sorted())")
            }
            if let allowed = allowed[index], !client.everSawFault, client.isGone,
                !mine.isSubset(of: allowed)
            {
                throw Violation(
                    description: "client \(index) vanished, and without its asking was committed"
                        + " \(mine.subtracting(allowed).sorted())")
            }
        }
        for index in clients.indices where !clients[index].isGone {
            abandonLease(of: index)
            clients[index].stream.releaseAll(in: &statements)
        }
        for index in servers.indices {
            if var orphan = servers[index].orphan.take() {
                servers[index].stream.dropAll(&orphan, statements: &statements)
                orphan.releaseAll(in: &statements)
            }
            servers[index].stream.releaseAll(in: &statements)
        }
        if statements.count != 0 {
            throw Violation(description: "\(statements.count) statements are left over")
        }
    }
}
