// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("The first packet of a connection")
struct StartupPacketTests {
    private func parse(_ bytes: [UInt8]) throws(WireError) -> StartupPacket {
        let result: Result<StartupPacket, WireError> = bytes.withUnsafeBytes { buffer in
            do throws(WireError) {
                return .success(try StartupPacket.parse(buffer))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private func startup(
        _ parameters: [(String, String)], version: UInt32 = 3 << 16
    ) throws -> StartupMessage {
        var bytes: [UInt8] = []
        bytes.appendStartupMessage(parameters: parameters, version: version)
        let packet = try parse(bytes)
        guard case .startup(let message) = packet else { throw WireReader.Truncated() }
        return message
    }

    @Test("SSL, GSS and cancel requests")
    func requests() throws {
        var ssl: [UInt8] = []
        ssl.appendSSLRequest()
        #expect(ssl == [0, 0, 0, 8, 4, 210, 22, 47])
        guard case .ssl = try parse(ssl) else {
            Issue.record("no SSLRequest")
            return
        }

        var gss: [UInt8] = []
        gss.appendGSSRequest()
        #expect(gss == [0, 0, 0, 8, 4, 210, 22, 48])
        guard case .gss = try parse(gss) else {
            Issue.record("no GSSENCRequest")
            return
        }

        var cancel: [UInt8] = []
        cancel.appendCancelRequest(processID: -7, secretKey: 0x0102_0304)
        #expect(Array(cancel.prefix(8)) == [0, 0, 0, 16, 4, 210, 22, 46])
        guard case .cancel(let processID, let key) = try parse(cancel) else {
            Issue.record("no CancelRequest")
            return
        }
        #expect(processID == -7)
        #expect(key == [1, 2, 3, 4])
    }

    @Test("Keys of 4 to 256 bytes, and no others", arguments: [0, 3, 4, 32, 256, 257])
    func cancelKeys(length: Int) throws {
        var bytes: [UInt8] = []
        bytes.appendCancelRequest(processID: 1, secretKey: Array(repeating: 9, count: length))
        if (4...256).contains(length) {
            guard case .cancel(_, let key) = try parse(bytes) else {
                Issue.record("no CancelRequest")
                return
            }
            #expect(key.count == length)
        } else {
            #expect(throws: WireError.self) { try parse(bytes) }
        }
    }

    @Test("A startup message, its own parameters apart from the settings")
    func message() throws {
        let message = try startup([
            ("user", "ann"), ("DateStyle", "ISO"), ("database", "shop"), ("_pq_.new", "1"),
            ("replication", "database"), ("options", "-c a=b"), ("application_name", "psql"),
            ("client_encoding", ""),
        ])
        #expect(message.majorVersion == 3)
        #expect(message.minorVersion == 0)
        #expect(message.user == "ann")
        #expect(message.database == "shop")
        #expect(message.databaseOrUser == "shop")
        #expect(message.replication == "database")
        #expect(message.options == "-c a=b")
        #expect(message.applicationName == "psql")
        #expect(message.protocolExtensions == ["_pq_.new"])
        #expect(
            message.parameters.map { "\($0.name)=\($0.value)" }
                == ["DateStyle=ISO", "application_name=psql", "client_encoding="])
    }

    @Test("Without a database it is named as the user")
    func databaseDefault() throws {
        #expect(try startup([("user", "ann")]).databaseOrUser == "ann")
        #expect(try startup([("user", "ann"), ("database", "")]).databaseOrUser == "ann")
    }

    @Test(
        "Walsender or not",
        arguments: [
            ("database", ReplicationKind.logical), ("true", .physical), ("1", .physical),
            ("on", .physical), ("YES", .physical), ("false", nil), ("off", nil), ("0", nil),
        ])
    func replication(value: String, wanted: ReplicationKind?) throws {
        #expect(try startup([("user", "u"), ("replication", value)]).replicationKind == wanted)
        #expect(try startup([("user", "u")]).replicationKind == nil)
    }

    @Test("Any other value of replication is PostgreSQL's error", arguments: ["x", "", "Database"])
    func replicationValues(value: String) throws {
        #expect(throws: WireError.replicationValue(value)) {
            try startup([("user", "u"), ("replication", value)])
        }
        #expect(WireError.replicationValue(value).pgError.sqlState == .invalidParameterValue)
    }

    @Test("A newer minor version is told, another major one refused")
    func versions() throws {
        #expect(try startup([("user", "u")], version: 3 << 16 | 2).minorVersion == 2)
        #expect(throws: WireError.unsupportedProtocol(major: 2, minor: 0)) {
            try startup([("user", "u")], version: 2 << 16)
        }
        #expect(WireError.unsupportedProtocol(major: 2, minor: 0).pgError.severity == .fatal)
    }

    @Test("Cut anywhere, it is refused and never read as something else")
    func truncation() throws {
        var bytes: [UInt8] = []
        bytes.appendStartupMessage(parameters: [("user", "ann"), ("a", "b")], version: 3 << 16)
        for length in 0..<bytes.count {
            let cut = Array(bytes.prefix(length))
            #expect(throws: WireError.self, "\(length) bytes of a longer packet") {
                try parse(cut)
            }
            guard length >= 8 else { continue }
            let honest = [0, 0, 0, UInt8(length)] + cut.dropFirst(4)
            // The one cut that leaves a whole list is before the last terminator, which is missing.
            #expect(throws: WireError.self, "a packet of \(length) bytes that says so") {
                try parse(honest)
            }
        }
        #expect(throws: WireError.self) { try parse(bytes + [0]) }
    }

    @Test("What the list of parameters may not be")
    func badLists() throws {
        func packet(_ body: [UInt8]) -> [UInt8] {
            var bytes: [UInt8] = []
            bytes.appendLengthPrefixed {
                $0.appendInteger(UInt32(3 << 16))
                $0.append(contentsOf: body)
            }
            return bytes
        }
        let user = Array("user\0u\0".utf8)
        #expect(throws: WireError.startupPacketLayout) { try parse(packet([])) }
        #expect(throws: WireError.startupPacketLayout) { try parse(packet(user)) }
        #expect(throws: WireError.startupPacketLayout) { try parse(packet(user + [0, 0])) }
        #expect(throws: WireError.startupPacketLayout) { try parse(packet(user + [97, 0])) }
        #expect(throws: WireError.startupPacketLayout) { try parse(packet(user + [97, 0, 98])) }
        #expect(throws: WireError.startupParameterEncoding("a")) {
            try parse(packet(user + [97, 0, 0xff, 0, 0]))
        }
        #expect(throws: WireError.startupParameterEncoding("?")) {
            try parse(packet(user + [0xff, 0, 97, 0, 0]))
        }
        #expect(throws: WireError.missingUser) { try parse(packet([0])) }
        #expect(throws: WireError.missingUser) { try parse(packet(Array("user\0\0\0".utf8))) }
    }

    @Test("An application_name in another encoding is what PostgreSQL shows of it")
    func otherEncodings() throws {
        func message(_ name: String, _ value: [UInt8]) throws -> StartupMessage? {
            var bytes: [UInt8] = []
            bytes.appendLengthPrefixed {
                $0.appendInteger(UInt32(3 << 16))
                $0 += Array("user\0u\0\(name)\0".utf8) + value + [0, 0]
            }
            guard case .startup(let message) = try parse(bytes) else { return nil }
            return message
        }
        let name = Array("caf".utf8) + [0xe9, 0x73, 0xe2, 0x82]
        #expect(try message("Application_Name", name)?.applicationName == "caf?s??")
        let option = Array("-c work_mem=5MB -c application_name=".utf8)
        let options = try message("options", option + name)?.options
        #expect(options == "-c work_mem=5MB -c application_name=caf?s??")
        #expect(throws: WireError.startupParameterEncoding("options")) {
            try message("options", Array("-c search_path=".utf8) + name)
        }
        #expect(throws: WireError.startupParameterEncoding("search_path")) {
            try message("search_path", name)
        }
        #expect(try message("application_name", Array("é".utf8))?.applicationName == "é")
    }

    @Test("The length is checked before anything is read")
    func lengths() throws {
        func length(_ bytes: [UInt8]) throws(WireError) -> Int {
            let result: Result<Int, WireError> = bytes.withUnsafeBytes { buffer in
                do throws(WireError) {
                    return .success(try StartupPacket.length(buffer))
                } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
        #expect(try length([0, 0, 0, 8]) == 8)
        #expect(try length([0, 0, 0x27, 0x10]) == 10_000)
        #expect(throws: WireError.startupPacketLength(7)) { try length([0, 0, 0, 7]) }
        #expect(throws: WireError.startupPacketLength(0)) { try length([0, 0, 0, 0]) }
        #expect(throws: WireError.startupPacketLength(10_001)) { try length([0, 0, 0x27, 0x11]) }
        #expect(throws: WireError.self) { try length([0xff, 0xff, 0xff, 0xff]) }
        #expect(throws: WireError.self) { try length(Array("GET ".utf8)) }
    }

    @Test("Every refusal is fatal and has a code")
    func errors() {
        #expect(WireError.startupPacketLayout.pgError.sqlState == .protocolViolation)
        #expect(WireError.startupPacketLength(3).pgError.sqlState == .protocolViolation)
        #expect(WireError.missingUser.pgError.sqlState == .invalidAuthorization)
        #expect(WireError.unknownOption("-x").pgError.sqlState == .syntaxError)
        #expect(WireError.unknownOption("-x").message.contains("-x"))
        #expect(WireError.optionWithoutValue("-c a").pgError.severity == .fatal)
    }
}
