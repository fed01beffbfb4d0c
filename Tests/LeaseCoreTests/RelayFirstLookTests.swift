// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import LeaseCore

/// What is asked of every message before it is looked at for good: it may say yes only where the long way ends there.
@Suite struct RelayFirstLookTests {
    private static let messages: [[UInt8]] = [
        message { $0.appendQuery("SELECT 1") }, message { $0.appendQuery("LEASE DIRECT") },
        message { $0.appendQuery("  lease") }, message { $0.appendQuery("") },
        message { $0.appendQuery("/* */ LEASE RETURN") }, message { $0.appendQuery("ROLLBACK") },
        message { $0.appendParse(name: "", query: "SELECT 1", parameterTypes: []) },
        message { $0.appendParse(name: "", query: "LEASE", parameterTypes: []) },
        message { $0.appendParse(name: "s", query: "SELECT 1", parameterTypes: []) },
        message { $0.appendParse(name: "s", query: "LEASE", parameterTypes: []) },
        message { $0.appendBind(statement: "s") }, message { $0.appendBind(statement: "") },
        message { $0.appendDescribe(statement: "s") }, message { $0.appendDescribe(portal: "") },
        message { $0.appendExecute() }, message { $0.appendCloseStatement(name: "s") },
        message { $0.appendSync() }, message { $0.appendFlush() }, message { $0.appendTerminate() },
        message { $0.appendCopyData([1, 2, 3]) }, message { $0.appendCopyDone() },
        [0x51, 0, 0, 0, 3],
        [0x7a, 0, 0, 0, 4],
    ]

    enum Before: CaseIterable {
        case nothing, leaseStatement, error, skipping, halfMessage
    }

    private func fixture(_ before: Before) -> RelayFixture {
        var relay = RelayFixture()
        switch before {
        case .nothing: break
        case .leaseStatement:
            relay.sendWithoutLease {
                $0.appendParse(name: "s", query: "LEASE", parameterTypes: [])
                $0.appendSync()
            }
        case .error: relay.client.deferredError = .error(.connectionFailure, "lost")
        case .skipping: relay.client.isSkippingToSync = true
        case .halfMessage: relay.client.passing.bytesLeft = 4
        }
        return relay
    }

    @Test(arguments: Before.allCases)
    func whatCertainlyNeedsALeaseIsAskedForOne(_ before: Before) {
        var certain = 0
        for message in Self.messages {
            for end in 1...message.count {
                let bytes = Array(message[..<end])
                var relay = fixture(before)
                let isCertain = bytes.withUnsafeBytes { raw in
                    ClientTurn(raw, mode: relay.mode).certainlyNeedsLease(relay.client)
                }
                guard isCertain else { continue }
                certain += 1
                let result = relay.sendWithoutLease { $0 += bytes }
                #expect(result.needsLease, "\(bytes)")
                #expect(result.toClient.isEmpty && relay.pending == bytes, "\(bytes)")
            }
        }
        #expect(certain == (before == .nothing ? 5 : 0))
    }

    @Test func tagsOfRowsLeaveNothing() {
        var plain = 0
        for tag in [
            "SELECT 1", "INSERT 0 1", "UPDATE 3", "DELETE 0", "MERGE 2", "SET", "RESET",
            "DEALLOCATE",
            "DEALLOCATE ALL", "DECLARE CURSOR", "DISCARD ALL", "CREATE TABLE", "LISTEN", "LOAD",
            "CALL", "DO",
            "PREPARE", "BEGIN", "COMMIT", "ROLLBACK", "SELEC", "SEL", "", "UPD",
        ] {
            let bytes = Array(tag.utf8) + [0]
            bytes.withUnsafeBytes { raw in
                guard CommandTagKind.isOfRows(raw) else { return }
                plain += 1
                #expect(CommandTagKind.of(raw) == .other, "\(tag)")
                #expect(SessionTaint.ofCommandTag(raw).isEmpty, "\(tag)")
            }
        }
        #expect(plain == 6)
    }
}

@Suite struct SessionTableTests {
    private final class Counted {
        static nonisolated(unsafe) var alive = 0
        let number: Int

        init(_ number: Int) {
            self.number = number
            Self.alive += 1
        }

        deinit { Self.alive -= 1 }
    }

    /// Sessions stay where they are, and an identity is the one that was given.
    @Test func sessionsStayWhereTheyAre() {
        do {
            var table = SessionTable<ClientID, Counted>()
            var addresses: [UnsafeMutablePointer<Counted>] = []
            for slot in 0..<200 {
                let id = ClientID(slot: UInt32(slot), generation: 1)
                table.insert(Counted(slot), at: id)
                addresses.append(table.address(of: id))
            }
            for slot in 0..<200 {
                let id = ClientID(slot: UInt32(slot), generation: 1)
                let isThere = table.address(of: id) == addresses[slot] && table[id].number == slot
                let isOther = table.contains(ClientID(slot: UInt32(slot), generation: 2))
                #expect(isThere && !isOther)
            }
            let gone = ClientID(slot: 77, generation: 1)
            let removed = table.remove(gone).number
            let isGone = !table.contains(gone) && table.count == 199
            #expect(removed == 77 && isGone && Counted.alive == 199)
            let next = ClientID(slot: 77, generation: 2)
            table.insert(Counted(1000), at: next)
            let isNext = table[next].number == 1000 && table.id(at: 77) == next
            let isBeyond = table.id(at: 200) != nil || table.ids.count != 200
            let areStrange =
                table.contains(ClientID(slot: 9999, generation: 1))
                || table.contains(ClientID(slot: 200, generation: 0))
            #expect(isNext && !isBeyond && !areStrange)
        }
        #expect(Counted.alive == 0)
    }

    @Test func aRowGrowsWithItsElements() {
        var row = SlotArray<[Int]>()
        for number in 0..<100 { row.append([number]) }
        row[3].append(4)
        let all = row.all
        #expect(all.count == 100 && all[3] == [3, 4] && all.map { $0[0] } == Array(0..<100))
    }
}
