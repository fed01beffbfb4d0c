// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// A RESET with more behind it in its batch goes back to the client's startup values for what follows.
extension ClientTurn {
    /// Sets what the batch has put back so far to what the client's startup packet says.
    mutating func restoreInBatch(
        _ startup: StartupValues, _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) {
        guard let reset = exchange(&server.resetInBatch, with: nil) else { return }
        let texts = ProfileSetup.statements(
            for: startup.entries.filter {
                reset.covers($0.name) && !ProfileSetup.withoutEffect.contains($0.name)
            })
        for text in texts {
            for kind in [Outstanding.Kind.close, .parse, .bind, .execute, .close] {
                server.push(Outstanding(kind, .broker))
            }
            toServer.inject(after: input) {
                $0.appendCloseStatement(name: Self.ownStatement)
                $0.appendParse(name: Self.ownStatement, query: text, parameterTypes: [])
                // What reset it was executed by the same portal.
                $0.appendBind(portal: "", statement: Self.ownStatement)
                $0.appendExecute(portal: "")
                $0.appendCloseStatement(name: Self.ownStatement)
            }
        }
    }

    /// Runs what the broker itself puts into a client's batch.
    private static let ownStatement = "pglease_000"
}
