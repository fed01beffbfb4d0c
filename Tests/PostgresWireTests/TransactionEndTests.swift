// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PostgresWire

/// Which texts only end a transaction.
@Suite struct TransactionEndTests {
    private func read(_ text: String) -> TransactionEnd? {
        Array(text.utf8).withUnsafeBytes { TransactionEnd.read($0) }
    }

    @Test(arguments: [
        "ROLLBACK", "rollback;", "Rollback Work", "ROLLBACK TRANSACTION ;; ", "ABORT",
        "/* a */ ROLLBACK -- b\n", "ROLLBACK AND NO CHAIN", "abort work and no chain;",
        "ROLLBACK\0", "ROLLBACK/* /* nested */ */;",
    ])
    func rollbacks(text: String) { #expect(read(text) == .rollback) }

    @Test(arguments: [
        "COMMIT", "commit;", "END", "end work", "COMMIT TRANSACTION", "COMMIT AND NO CHAIN",
        " \n\tCOMMIT\n",
    ])
    func commits(text: String) { #expect(read(text) == .commit) }

    @Test(arguments: [
        "", ";", "-- ping", "ROLLBACK AND CHAIN", "COMMIT AND CHAIN", "ROLLBACK TO a",
        "ROLLBACK TO SAVEPOINT a", "ROLLBACK PREPARED 'x'", "COMMIT PREPARED 'x'",
        "ROLLBACK; SELECT 1", "ROLLBACK; ROLLBACK", "SELECT 1; ROLLBACK", "ROLLBACKS", "BEGIN",
        "ENDS", "END IF", "ROLLBACK WORK TRANSACTION", "ROLLBACK /* ", "ROLLBACK AND NO",
        "COMMITTED", "ABORT 1", "'ROLLBACK'", "ROLLBACK\u{E9}",
        "ROLLBACK" + String(repeating: " ", count: 300),
    ])
    func others(text: String) { #expect(read(text) == nil) }
}
