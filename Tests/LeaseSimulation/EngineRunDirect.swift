// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// Clients that speak to their server without the broker, and leave it as they please.
extension EngineRun {
    /// The client says something to the server that it has directly, or reads; false if it has none, or does
    /// something else.
    mutating func actDirectly(_ client: EngineClient) -> Bool {
        guard let server = client.socket.descriptor, client.program.isDirect, chance(85) else {
            return false
        }
        if server.isEnded || server.isTorn { return false }
        if !server.backend.output.isEmpty, chance(60) {
            readDirectly(client, server)
            return true
        }
        let bytes = saying(client)
        note("client \(client.index) directly: \(RelayTranscript.ofClient(bytes))")
        let isTorn = chance(2)
        let count = isTorn ? Int.random(in: 1..<bytes.count, using: &random) : bytes.count
        server.isTorn = isTorn
        server.wire += bytes.prefix(count)
        client.thinksUntil = now + time(upTo: 500)
        return true
    }

    /// True if that is what it did: a client that has its lease parked takes it back before anything else.
    mutating func parksOrTakesBack(_ client: EngineClient) -> Bool {
        let socket = client.socket
        if client.isParked {
            client.isParked = false
            if socket.saysMayPark {
                socket.isTokenIn = false
                note("client \(client.index) takes back what it parked")
                return chance(50)
            }
            note("what client \(client.index) parked is gone")
            socket.isBellRung = true
            socket.descriptor = nil
            socket.isParkable = false
            client.program.parkedIsGone()
            return true
        }
        guard !isWinding, socket.isParkable, socket.descriptor != nil, client.program.isDirect,
            socket.saysMayPark, !client.sawFault, chance(25)
        else { return false }
        note("client \(client.index) parks its lease")
        client.isParked = true
        socket.isTokenIn = true
        client.thinksUntil = now + time(upTo: 20_000)
        return true
    }

    private mutating func saying(_ client: EngineClient) -> [UInt8] {
        client.directly += 1
        let token = "d\(client.index).\(client.directly)"
        var bytes: [UInt8] = []
        switch Int.random(in: 0..<15, using: &random) {
        case 0: bytes.appendQuery("select \(token)")
        case 1: bytes.appendQuery("begin")
        case 2: bytes.appendQuery("insert \(token)")
        case 3: bytes.appendQuery("set mark \(token)")
        case 4: bytes.appendQuery("show mark")
        case 5: bytes.appendQuery(chance(50) ? "commit" : "rollback")
        case 6: bytes.appendQuery("rows \(Int.random(in: 0...40, using: &random)) \(token)")
        case 7: bytes.appendQuery("copy in \(token)")
        case 8:
            bytes.appendCopyData([1])
            if chance(50) { bytes.appendCopyDone() }
        case 9:
            bytes.appendParse(name: "n\(token)", query: "show profile")
            bytes.appendBind(statement: "n\(token)")
            bytes.appendExecute()
        case 10:
            bytes.appendParse(name: "", query: "rows 5 \(token)")
            bytes.appendBind()
            bytes.appendExecute(maximumRows: 2)
            if chance(50) { bytes.appendFlush() }
        case 11: bytes.appendQuery("set followed = \(token)")
        case 12: bytes.appendQuery("fail \(token)")
        case 13: bytes.appendQuery("set timezone = \(token)")
        default: bytes.appendSync()
        }
        return bytes
    }

    /// Some of what the server said is read: whole messages, but for a client that gives up in the middle of
    /// one.
    private mutating func readDirectly(_ client: EngineClient, _ server: ServerSocket) {
        var count = 0
        let output = server.backend.output
        // A server that died has left a part of one.
        repeat {
            guard output.count - count >= MessageHeader.size else {
                count = output.count
                break
            }
            let header = output.withUnsafeBytes { MessageHeader($0, at: count) }
            count = min(count + MessageHeader.size + header.bodyLength, output.count)
        } while count < output.count && chance(70)
        if chance(1) {
            count -= 1
            server.isTorn = true
        }
        client.directlyRead = Array(output.prefix(count))
        server.backend.output.removeFirst(count)
        for answer in RelayTranscript.ofServer(client.directlyRead) where answer.hasPrefix("D(") {
            let value = answer.dropFirst(2).dropLast()
            let own = "d\(client.index)."
            let isOwn =
                value == "mark:none" || value == "mark:connect" || value.hasPrefix("mark:\(own)")
                || value.hasPrefix("mark:c\(client.index).")
                || value.hasPrefix(own)
                || value.hasPrefix("profile:\(own)")
                || value == "profile:\(client.program.direct.profile)"
                || value == "profile:0"
            if !isOwn { violation = "client \(client.index) sees \(value) directly" }
        }
    }
}
