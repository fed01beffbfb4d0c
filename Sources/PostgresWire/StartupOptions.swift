// SPDX-License-Identifier: Apache-2.0

/// The startup parameter `options`: a command line of the server process, of which settings are
/// read.
///
/// Words and switches are taken apart as PostgreSQL does (`pg_split_opts`,
/// `process_postgres_switches` and the getopt of glibc), so that what a server accepts is accepted
/// here and what it refuses is refused.
package enum StartupOptions {
    package typealias Setting = (name: String, value: String)

    /// The settings in their order; a later one of the same name wins.
    package static func parse(_ options: String) throws(WireError) -> [Setting] {
        var settings: [Setting] = []
        let words = split(options)
        var index = 0
        while index < words.count {
            let word = words[index]
            index += 1
            if word == "--" {
                // The end of the switches: nothing may follow.
                guard index == words.count else { throw .unknownOption(words[index]) }
                break
            }
            guard word.utf8.first == UInt8(ascii: "-"), word != "-" else {
                throw .unknownOption(word)
            }
            try readSwitches(of: word, next: &index, among: words, into: &settings)
        }
        return settings
    }

    /// Words between white space; a backslash takes the next byte as it is.
    static func split(_ options: String) -> [String] {
        var words: [String] = []
        var word: [UInt8]?
        var isEscaped = false
        for byte in options.utf8 {
            if isEscaped {
                isEscaped = false
                word?.append(byte)
            } else if byte == UInt8(ascii: " ") || (9...13).contains(byte) {
                if let finished = word { words.append(String(decoding: finished, as: UTF8.self)) }
                word = nil
            } else {
                if word == nil { word = [] }
                if byte == UInt8(ascii: "\\") { isEscaped = true } else { word?.append(byte) }
            }
        }
        if let finished = word { words.append(String(decoding: finished, as: UTF8.self)) }
        return words
    }

    /// Reads one word: any number of single letters, the last of which may have an argument in the
    /// rest of the word or in the next.
    private static func readSwitches(
        of word: String, next: inout Int, among words: [String], into settings: inout [Setting]
    ) throws(WireError) {
        var rest = Substring(word).dropFirst()
        while let letter = rest.unicodeScalars.first {
            rest.unicodeScalars.removeFirst()
            if let switchWithout = plainSwitches[letter] {
                if let setting = switchWithout { settings.append(setting) }
                continue
            }
            guard lettersWithArgument.contains(letter) else { throw .unknownOption(word) }
            var argument = String(rest)
            if argument.isEmpty {
                guard next < words.count else { throw .unknownOption(word) }
                argument = words[next]
                next += 1
            }
            try read(letter, argument, of: word, into: &settings)
            return
        }
    }

    /// Switches without an argument and the setting they stand for; nil for those that a session
    /// ignores.
    private static let plainSwitches: [Unicode.Scalar: Setting?] = [
        "b": nil as Setting?, "E": nil as Setting?, "j": nil as Setting?, "n": nil as Setting?,
        "T": nil as Setting?,
        "e": ("datestyle", "euro"),
        "F": ("fsync", "false"),
        "i": ("listen_addresses", "*"),
        "l": ("ssl", "true"),
        "O": ("allow_system_table_mods", "true"),
        "P": ("ignore_system_indexes", "true"),
        "s": ("log_statement_stats", "true"),
    ]

    private static let lettersWithArgument: Set<Unicode.Scalar> = [
        "B", "c", "C", "D", "d", "f", "h", "k", "N", "p", "r", "S", "t", "v", "W", "-",
    ]

    private static func read(
        _ letter: Unicode.Scalar, _ argument: String, of word: String,
        into settings: inout [Setting]
    ) throws(WireError) {
        switch letter {
        case "c", "-":
            settings.append(try assignment(argument, after: letter == "c" ? "-c " : "--"))
        case "B": settings.append(("shared_buffers", argument))
        case "h": settings.append(("listen_addresses", argument))
        case "k": settings.append(("unix_socket_directories", argument))
        case "N": settings.append(("max_connections", argument))
        case "p": settings.append(("port", argument))
        case "S": settings.append(("work_mem", argument))
        case "W": settings.append(("post_auth_delay", argument))
        case "d": appendDebugging(argument, to: &settings)
        case "f":
            guard let name = planSwitch(argument) else { throw .unknownOption(word) }
            settings.append((name, "false"))
        case "t":
            guard let name = statisticsSwitch(argument) else { throw .unknownOption(word) }
            settings.append((name, "true"))
        default:
            break  // C, D, r and v mean something to a server that starts, nothing to a session.
        }
    }

    /// `name=value`, where dashes in the name stand for underscores.
    private static func assignment(
        _ argument: String, after introducer: String
    ) throws(WireError) -> Setting {
        guard let equals = argument.utf8.firstIndex(of: UInt8(ascii: "=")) else {
            throw .optionWithoutValue(introducer + argument)
        }
        var name = String(argument[..<equals])
        guard !name.isEmpty else { throw .unknownOption(introducer + argument) }
        if name.utf8.contains(UInt8(ascii: "-")) {
            name = String(name.map { $0 == "-" ? "_" : $0 })
        }
        return (name, String(argument[argument.utf8.index(after: equals)...]))
    }

    /// `-d level`, as `set_debug_options` does in a session.
    private static func appendDebugging(_ argument: String, to settings: inout [Setting]) {
        let level = leadingInteger(argument)
        settings.append(("log_min_messages", level > 0 ? "debug\(level)" : "notice"))
        if level >= 2 { settings.append(("log_statement", "all")) }
        if level >= 3 { settings.append(("debug_print_parse", "true")) }
        if level >= 4 { settings.append(("debug_print_plan", "true")) }
        if level >= 5 { settings.append(("debug_print_rewritten", "true")) }
    }

    /// As C's `atoi`: the digits in front, 0 without any.
    private static func leadingInteger(_ text: String) -> Int {
        Int(text.prefix { ("0"..."9").contains($0) }) ?? 0
    }

    private static func planSwitch(_ argument: String) -> String? {
        switch argument.first {
        case "s": return "enable_seqscan"
        case "i": return "enable_indexscan"
        case "o": return "enable_indexonlyscan"
        case "b": return "enable_bitmapscan"
        case "t": return "enable_tidscan"
        case "n": return "enable_nestloop"
        case "m": return "enable_mergejoin"
        case "h": return "enable_hashjoin"
        default: return nil
        }
    }

    private static func statisticsSwitch(_ argument: String) -> String? {
        if argument.hasPrefix("pa") { return "log_parser_stats" }
        if argument.hasPrefix("pl") { return "log_planner_stats" }
        if argument.hasPrefix("e") { return "log_executor_stats" }
        return nil
    }
}
