// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// Lease commands in what a client does: alone and among other things, simple and extended, right
/// and wrong.
extension RelayProgram {
    /// A group that is about leases.
    mutating func leaseGroup(_ group: inout Group) {
        if isDirect {
            group.parts = [Part(bytes: chance(50) ? theReturn() : wrongTalk())]
            return
        }
        if !isHeld, direct.status == .idle, chance(35) {
            // Nothing may follow what makes the lease direct.
            let isShort = hasShortLeases && chance(40)
            group.parts = [
                Part(
                    bytes: command(
                        isShort
                            ? "LEASE DIRECT HOLD '30ms'"
                            : parks ? "LEASE DIRECT PARK" : "LEASE DIRECT"))
            ]
            return
        }
        var all = isHeld ? theReturn() : command(acquiring())
        if chance(40) {
            var none: [String] = []
            all =
                chance(50)
                ? all + batch(&none, endsWithSync: true) : batch(&none, endsWithSync: true) + all
        }
        group.parts = [Part(bytes: all)]
    }

    /// One among other things of a pipeline.
    mutating func leaseCommand(among usable: inout [String]) -> [UInt8] {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: return command("LEASE ME")
        case 1: return inTheMiddleOfABatch()
        case 2: return prepare()
        case 3, 4: return theReturn()
        case 5: return inFrontOfABatch()
        default:
            if let name = leaseNames.randomElement(using: &random) { return runPrepared(name) }
            return command(acquiring())
        }
    }

    private mutating func acquiring() -> String {
        let terms = ["LEASE", "LEASE WAIT '2s'", "LEASE HOLD '1h' FOR 'x'"]
        let short = hasShortLeases ? ["LEASE WAIT '10ms'", "LEASE HOLD '20ms' THREAD '7'"] : []
        return (terms + short).randomElement(using: &random)!
    }

    private mutating func theReturn() -> [UInt8] {
        isSurelyHeld = false
        return command("LEASE RETURN")
    }

    /// Simple, or a batch of its own.
    private mutating func command(_ text: String) -> [UInt8] {
        unnamed = nil
        if chance(50) { return bytes { $0.appendQuery(text) } }
        return extended(text) + bytes { $0.appendSync() }
    }

    private mutating func extended(_ text: String) -> [UInt8] {
        let describes = chance(50)
        let portal = chance(30) ? "p\(token())" : ""
        unnamed = nil
        unnamedSent = text
        return bytes {
            $0.appendParse(name: "", query: text)
            if describes { $0.appendDescribe(statement: "") }
            $0.appendBind(portal: portal)
            if describes { $0.appendDescribe(portal: portal) }
            $0.appendExecute(portal: portal)
        }
    }

    /// The server's own syntax error.
    private mutating func inTheMiddleOfABatch() -> [UInt8] {
        let token = token()
        let start = bytes {
            $0.appendParse(name: "", query: "insert \(token)")
            $0.appendBind()
            $0.appendExecute()
        }
        return start + extended("LEASE") + bytes { $0.appendSync() }
    }

    /// The broker's answers come first, then the server's.
    private mutating func inFrontOfABatch() -> [UInt8] {
        let isReturn = chance(50)
        if isReturn { isSurelyHeld = false }
        let start = extended(isReturn ? "LEASE RETURN" : "LEASE")
        return start + unnamedStatement() + bytes { $0.appendSync() }
    }

    private mutating func prepare() -> [UInt8] {
        let name = "l\(Int.random(in: 0..<3, using: &random))"
        let text = chance(50) ? "LEASE" : "LEASE RETURN"
        if chance(30) {
            return bytes {
                $0.appendCloseStatement(name: name)
                $0.appendSync()
            }
        }
        return bytes {
            $0.appendParse(name: name, query: text)
            $0.appendDescribe(statement: name)
            $0.appendSync()
        }
    }

    private mutating func runPrepared(_ name: String) -> [UInt8] {
        isSurelyHeld = false
        return bytes {
            $0.appendBind(statement: name)
            $0.appendExecute()
            $0.appendSync()
        }
    }

    /// Over the broker's socket, while the server is had directly.
    private mutating func wrongTalk() -> [UInt8] {
        let token = token()
        unnamed = nil
        switch Int.random(in: 0..<5, using: &random) {
        case 0: return bytes { $0.appendQuery("select \(token)") }
        case 1: return command("LEASE")
        case 2: return bytes { $0.appendSync() }
        case 3:
            return bytes {
                $0.appendCopyData([1])
                $0.appendCopyDone()
                $0.appendQuery("")
            }
        default:
            return bytes {
                $0.appendParse(name: "", query: "insert \(token)")
                $0.appendBind()
                $0.appendExecute()
                $0.appendSync()
            }
        }
    }
}
