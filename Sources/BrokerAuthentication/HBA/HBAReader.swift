// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Reads `auth_hba_file`.
///
/// pgbouncer skips a line that it cannot read, with a warning. Here such a line refuses the file, as in PostgreSQL: what
/// is skipped may be a `reject`, or stand before a line that lets more in.
package struct HBAReader {
    /// Returns the text of a file that `@` names, or why it cannot be read.
    package typealias ReadFile = (String) -> Result<String, HBAFileFailure>

    private let file: String
    private let maps: IdentMaps
    private let hasMapFile: Bool
    private let directory: LDAPDirectory?
    private let readFile: ReadFile
    private var rules: [HBARule] = []
    private var warnings: [HBAIssue] = []
    package private(set) var issues: [HBAIssue] = []

    /// `maps` is nil without an `auth_ident_file`, `directory` the one of `ldap` without options.
    package init(
        file: String, text: String, maps: IdentMaps?,
        directory: LDAPDirectory? = nil, readFile: @escaping ReadFile
    ) {
        self.file = file
        self.maps = maps ?? IdentMaps()
        hasMapFile = maps != nil
        self.directory = directory
        self.readFile = readFile
        for line in HBALine.lines(of: text) {
            do throws(HBAMistake) {
                try read(line)
            } catch {
                issues.append(error.issue(file, line.number))
            }
        }
        if rules.isEmpty, issues.isEmpty {
            warnings.append(HBAIssue(file, 0, "has no rules: no client can log in"))
        }
    }

    /// What was read. Of use only without issues.
    package var result: HBARules { HBARules(rules: rules, maps: maps, warnings: warnings) }

    // MARK: A line

    private mutating func read(_ line: HBALine) throws(HBAMistake) {
        var words = try line.words()[...]
        guard let type = words.popFirst() else { return }
        let connection = try Self.connection(type)
        let databases = try names(.databases, &words)
        let users = try names(.users, &words)
        let addresses = connection == .local ? .all : try addresses(&words, line.number)
        rules.append(
            try rule(words, of: line, connection: connection, databases, users, addresses))
    }

    private static func connection(
        _ word: HBAWord
    ) throws(HBAMistake) -> HBARule.Connection {
        if !word.isQuoted, !word.isFollowedByComma,
            let connection = HBARule.Connection(rawValue: word.text)
        {
            return connection
        }
        if !word.isQuoted, ["include", "include_if_exists", "include_dir"].contains(word.text) {
            throw HBAMistake(
                "\(quoted(word.text)) is not supported", advice: "write the lines here")
        }
        throw HBAMistake(
            "unknown type \(quoted(word.text.prefix(80)))",
            advice: "a line begins with local, host, hostssl or hostnossl")
    }

    private func names(
        _ column: HBANameColumn, _ words: inout ArraySlice<HBAWord>
    ) throws(HBAMistake) -> HBANames {
        let readFile = readFile
        var reader = HBANameReader(column) { (path: String) throws(HBAMistake) -> String in
            switch readFile(path) {
            case .success(let text): return text
            case .failure(let failure): throw HBAMistake("\(path): \(failure.reason)")
            }
        }
        repeat {
            guard let word = words.popFirst() else {
                throw HBAMistake("the \(column.word) is missing", advice: Self.columns)
            }
            try reader.take(word, in: file)
            if !word.isFollowedByComma { break }
        } while true
        return reader.names
    }

    private static let columns = "a line is: type database user [address [mask]] method [options]"

    // MARK: Addresses

    private mutating func addresses(
        _ words: inout ArraySlice<HBAWord>, _ number: Int
    ) throws(HBAMistake) -> HBARule.Addresses {
        guard let word = words.popFirst() else {
            throw HBAMistake("the address is missing", advice: Self.columns)
        }
        guard !word.isFollowedByComma else {
            throw HBAMistake(
                "a rule has one address, and a comma follows it", advice: "write a line for each")
        }
        if word.isKeyword("all") { return .all }
        if word.isKeyword("samehost") || word.isKeyword("samenet") {
            throw HBAMistake(
                "\(quoted(word.text)) is not supported", advice: "write the network's address")
        }
        let parts = word.text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress.exactly(parts[0]) else {
            throw HBAMistake(
                "\(quoted(word.text.prefix(80))) is no address",
                advice: "write all, or an IPv4 or IPv6 address with its mask; host names are not"
                    + " supported")
        }
        let mask: UInt128
        if parts.count == 2 {
            guard parts[1].utf8.allSatisfy(isDigit), let prefix = Int(parts[1]),
                prefix <= address.family.bits
            else {
                throw HBAMistake(
                    "\(quoted(word.text.prefix(80))): the mask is no number of bits from 0 to"
                        + " \(address.family.bits)")
            }
            mask = IPNetwork.mask(prefix, address.family)
        } else {
            mask = try self.mask(&words, address)
        }
        let network = IPNetwork(address, mask: mask)
        if address.value & mask != address.value {
            warnings.append(
                HBAIssue(
                    file, number,
                    "\(quoted(word.text)) has bits beyond its mask: the whole network is meant",
                    advice: "pgbouncer lets no client match such a line; PostgreSQL and pglease do")
            )
        }
        return .network(network)
    }

    private func mask(
        _ words: inout ArraySlice<HBAWord>, _ address: IPAddress
    ) throws(HBAMistake) -> UInt128 {
        guard let word = words.popFirst(), !word.isFollowedByComma,
            let mask = IPAddress.exactly(word.text[...]), mask.family == address.family
        else {
            throw HBAMistake(
                "the address has no mask",
                advice: "write address/bits, or the mask in a column of its own")
        }
        return mask.value
    }

    // MARK: The method

    private mutating func rule(
        _ words: ArraySlice<HBAWord>, of line: HBALine, connection: HBARule.Connection,
        _ databases: HBANames, _ users: HBANames, _ addresses: HBARule.Addresses
    ) throws(HBAMistake) -> HBARule {
        guard let word = words.first else {
            throw HBAMistake("the method is missing", advice: Self.columns)
        }
        let method = try knownMethod(word, connection)
        guard !word.isFollowedByComma else {
            throw HBAMistake("a rule has one method, and options stand between blanks")
        }
        let directory = method == .ldap ? try directory(words, of: line) : nil
        let options = method == .ldap ? [] : words.dropFirst()
        let named = try option(options, method)
        warn(of: method, connection, line.number)
        return HBARule(
            line: line.number, connection: connection, databases: databases, users: users,
            addresses: addresses, method: method, map: method == .pam ? nil : named,
            service: method == .pam ? named : nil, directory: directory)
    }

    private mutating func directory(
        _ words: ArraySlice<HBAWord>, of line: HBALine
    ) throws(HBAMistake) -> LDAPDirectory {
        let found: LDAPDirectory
        if words.count == 1 {
            guard let directory else {
                throw HBAMistake(
                    "ldap needs options, of its own or in auth_ldap_options",
                    advice: "ldapurl=\"ldap://server/base?uid?sub\" is one")
            }
            found = directory
        } else {
            let text = Self.text(
                of: line, from: words.first?.end ?? 0, to: words.last?.end ?? 0)
            do throws(LDAPOptionsError) {
                found = try LDAPDirectory(options: text)
            } catch {
                throw HBAMistake(error.reason, advice: error.advice)
            }
        }
        if found.isInTheClear {
            warnings.append(HBAIssue(file, line.number, LDAPDirectory.clearTextWarning))
        }
        return found
    }

    private func knownMethod(
        _ word: HBAWord, _ connection: HBARule.Connection
    ) throws(HBAMistake) -> HBAMethod {
        // PostgreSQL's ident is peer on the Unix socket.
        let name = word.text == "ident" && connection == .local ? "peer" : word.text
        guard !word.isQuoted, let method = HBAMethod(rawValue: name) else {
            let isPostgres = ["ident", "gss", "sspi", "radius", "bsd", "oauth"].contains(word.text)
            throw HBAMistake(
                "the method \(quoted(word.text.prefix(80))) is \(isPostgres ? "not supported" : "unknown")",
                advice: "methods are "
                    + HBAMethod.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return method
    }

    /// The value of `map=` or `pamservice=`.
    private func option(
        _ words: ArraySlice<HBAWord>, _ method: HBAMethod
    ) throws(HBAMistake) -> String? {
        guard !words.contains(where: \.isFollowedByComma) else {
            throw HBAMistake("a rule has one method, and options stand between blanks")
        }
        let known = method == .pam ? "pamservice" : "map"
        var value: String?
        for option in words {
            let parts = option.text.split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, parts[0] == known, !parts[1].isEmpty else {
                throw HBAMistake(
                    "the option \(quoted(option.text.prefix(80))) is unknown",
                    advice: "the option of peer and cert is map=name, that of pam pamservice=name")
            }
            guard method == .peer || method == .cert || method == .pam else {
                throw HBAMistake(
                    "map= is of no use with \(method.rawValue)",
                    advice: "it belongs to peer and cert")
            }
            guard value == nil else { throw HBAMistake("\(known)= is given twice") }
            value = String(parts[1])
        }
        if let value, method != .pam, !maps.names.contains(value) {
            throw HBAMistake(
                "there is no ident map \(quoted(value))",
                advice: hasMapFile
                    ? "auth_ident_file has no line of it" : "auth_ident_file is not set")
        }
        guard value?.contains("/") != true || method != .pam else {
            throw HBAMistake("pamservice= is a name, not a path")
        }
        return value
    }

    /// Rules that let nobody in.
    private mutating func warn(
        of method: HBAMethod, _ connection: HBARule.Connection, _ number: Int
    ) {
        switch (method, connection) {
        case (.peer, .local), (.cert, .host), (.cert, .hostssl), (.cert, .hostnogssenc): return
        case (.peer, _):
            warnings.append(
                HBAIssue(file, number, "peer lets nobody in here: it needs the Unix socket (local)")
            )
        case (.cert, _):
            warnings.append(
                HBAIssue(file, number, "cert lets nobody in here: it needs TLS (hostssl)"))
        default: return
        }
    }

    private static func text(of line: HBALine, from start: Int, to end: Int) -> String {
        let bytes = line.bytes[start..<max(start, end)].drop(while: HBALine.isBlank)
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Why a file could not be read.
package struct HBAFileFailure: Error {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }

    /// There is no such file, in the words of ENOENT.
    package var isMissing: Bool { reason.hasPrefix("No such file") }
}
