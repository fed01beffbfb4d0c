// SPDX-License-Identifier: Apache-2.0

import PostgresWire

extension Engine {
    /// What a client prepared by SQL is its statement as any other: servers are told it when it is named. Returns
    /// what of it cannot follow.
    mutating func followStatements(
        _ prepared: [StateAnswer.Statement], _ client: ClientID
    ) -> PinReasons {
        var pins: PinReasons = []
        for statement in prepared {
            let text = statement.text.withUnsafeBytes { bytes in
                PrepareText.body(of: statement.name, in: bytes).map { Array(bytes[$0]) }
            }
            guard let text, statements.memory.mayKeep(text.count) else {
                pins.formUnion(.statements)
                continue
            }
            let body = Self.parseBody(text, statement.parameterTypes)
            let id = body.withUnsafeBytes { statements.make($0, in: nil) }
            let since = statements.tick()
            statement.name.withUnsafeBytes { key in
                if let before = clients[client].stream.statements.remove(key) {
                    statements.release(before.id)
                }
                clients[client].stream.statements.insert(
                    ClientStatement(id: id, since: since, meaning: nil), for: key)
            }
        }
        return pins
    }

    /// A Parse message behind its name.
    private static func parseBody(_ text: [UInt8], _ types: [UInt32]) -> [UInt8] {
        var body =
            text + [0, UInt8(truncatingIfNeeded: types.count >> 8), UInt8(types.count & 0xff)]
        for type in types { body.appendInteger(type) }
        return body
    }
}
