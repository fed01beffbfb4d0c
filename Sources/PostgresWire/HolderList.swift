// SPDX-License-Identifier: Apache-2.0

/// One that holds a lease, as the DETAIL of an error or notice names it.
package struct HolderText: Equatable, Sendable {
    /// How the broker knows the client.
    package enum Who: Equatable, Sendable {
        case process(Int64)
        /// The broker's own number of a client whose process it cannot see.
        case client(String)
    }

    package var who: Who
    /// The application or program name; empty when unknown.
    package var program: String
    package var heldFor: Duration
    /// Such as `idle in transaction`: words of the broker's own, without comma or parenthesis.
    package var activity: String
    package var thread: String?
    package var purpose: String?

    package init(
        _ who: Who, program: String, heldFor: Duration, activity: String, thread: String? = nil,
        purpose: String? = nil
    ) {
        self.who = who
        self.program = program
        self.heldFor = heldFor
        self.activity = activity
        self.thread = thread
        self.purpose = purpose
    }
}

/// The line of a DETAIL that names the holders of leases, written by the broker and read by the client
/// modules. Its grammar is documented in docs/error-details.md:
///
///     holders = "Held by: " holder *( ", " holder ) [ ", and " number " more" ] "."
///     holder  = who [ " " quoted ] " for " seconds " s (" activity [ ", thread " quoted ]
///               [ ", for " quoted ] ")"
///     who     = "pid " number / "client " number [ "." number ]
///     quoted  = DQUOTE *( "\" any / any but DQUOTE and "\" ) DQUOTE
///
/// It is the DETAIL's last line, and no name contains a line break, so no name can pass for it.
package enum HolderList {
    package static let heading = "Held by: "

    // MARK: Writing

    package static func line(_ holders: [HolderText], more: Int = 0) -> String {
        let named = holders.map { text($0) }.joined(separator: ", ")
        return "\(heading)\(named)\(more > 0 ? ", and \(more) more" : "")."
    }

    private static func text(_ holder: HolderText) -> String {
        let thread = holder.thread.map { ", thread \(quoted($0))" } ?? ""
        let purpose = holder.purpose.map { ", for \(quoted($0))" } ?? ""
        return
            "\(name(holder.who, holder.program)) for \(seconds(holder.heldFor)) (\(holder.activity)\(thread)\(purpose))"
    }

    /// `pid 4711 "backfill"`: how a client is named in every text of the broker's.
    package static func name(_ who: HolderText.Who, _ program: String) -> String {
        let number =
            switch who {
            case .process(let process): "pid \(process)"
            case .client(let client): "client \(client)"
            }
        return program.isEmpty ? number : "\(number) \(quoted(program))"
    }

    /// In double quotes, with a backslash before each quote and backslash. White space but the space is
    /// shown as one, any other control character as a question mark.
    package static func quoted(_ text: String) -> String {
        var shown = String.UnicodeScalarView()
        shown.append("\"")
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\":
                shown.append("\\")
                shown.append(scalar)
            // Also the line separators that are no control characters: a reader may split there.
            case "\u{9}"..."\u{D}", "\u{2028}", "\u{2029}": shown.append(" ")
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}": shown.append("?")
            default: shown.append(scalar)
            }
        }
        shown.append("\"")
        return String(shown)
    }

    private static func seconds(_ duration: Duration) -> String {
        let (whole, attoseconds) = duration.components
        let tenths = whole * 10 + (attoseconds + 50_000_000_000_000_000) / 100_000_000_000_000_000
        return "\(tenths / 10).\(tenths % 10) s"
    }

    // MARK: Reading

    /// The holders that a DETAIL names; empty if it names none or does not keep to the grammar.
    package static func read(_ detail: String) -> [HolderText] {
        let bytes = Array(detail.utf8)
        let start = bytes.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        var reader = HolderReader(bytes: bytes, offset: start)
        return reader.list() ?? []
    }
}

/// Reads one line of the grammar; each function is nil where the text does not keep to it.
private struct HolderReader {
    let bytes: [UInt8]
    var offset: Int

    mutating func list() -> [HolderText]? {
        guard take(HolderList.heading) else { return nil }
        var holders: [HolderText] = []
        repeat {
            if take("and ") {
                guard number() != nil, take(" more") else { return nil }
                break
            }
            guard let holder = holder() else { return nil }
            holders.append(holder)
        } while take(", ")
        guard take("."), offset == bytes.count else { return nil }
        return holders
    }

    private mutating func holder() -> HolderText? {
        guard let who = who() else { return nil }
        var program = ""
        if take(" \"") {
            guard let name = restOfQuoted() else { return nil }
            program = name
        }
        guard take(" for "), let heldFor = seconds(), take(" s (") else { return nil }
        var holder = HolderText(who, program: program, heldFor: heldFor, activity: activity())
        if take(", thread \"") {
            guard let thread = restOfQuoted() else { return nil }
            holder.thread = thread
        }
        if take(", for \"") {
            guard let purpose = restOfQuoted() else { return nil }
            holder.purpose = purpose
        }
        return take(")") ? holder : nil
    }

    private mutating func who() -> HolderText.Who? {
        if take("pid ") { return number().map { .process($0) } }
        guard take("client "), let first = number() else { return nil }
        guard take(".") else { return .client("\(first)") }
        return number().map { .client("\(first).\($0)") }
    }

    private mutating func activity() -> String {
        let start = offset
        while offset < bytes.count, bytes[offset] != UInt8(ascii: ","),
            bytes[offset] != UInt8(ascii: ")")
        {
            offset += 1
        }
        return String(decoding: bytes[start..<offset], as: UTF8.self)
    }

    private mutating func seconds() -> Duration? {
        guard let whole = number(), take("."), offset < bytes.count,
            isDigit(bytes[offset])
        else { return nil }
        let tenth = Int64(bytes[offset] - UInt8(ascii: "0"))
        offset += 1
        return .seconds(whole) + .milliseconds(tenth * 100)
    }

    private mutating func restOfQuoted() -> String? {
        var content: [UInt8] = []
        while offset < bytes.count {
            let byte = bytes[offset]
            offset += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: content, as: UTF8.self) }
            if byte == UInt8(ascii: "\\") {
                guard offset < bytes.count else { return nil }
                content.append(bytes[offset])
                offset += 1
            } else {
                content.append(byte)
            }
        }
        return nil
    }

    private mutating func number() -> Int64? {
        let start = offset
        while offset < bytes.count, isDigit(bytes[offset]) { offset += 1 }
        return Int64(String(decoding: bytes[start..<offset], as: UTF8.self))
    }

    private mutating func take(_ word: String) -> Bool {
        let word = word.utf8
        guard bytes.count - offset >= word.count, bytes[offset...].starts(with: word) else {
            return false
        }
        offset += word.count
        return true
    }
}
