/// One that holds a lease while others wait, as the broker names it.
public struct Holder: Equatable, Sendable, CustomStringConvertible {
    /// 0 when the broker cannot see it (a client over TCP).
    public var processID: Int
    /// The program or application name; empty when unknown.
    public var program: String
    public var heldFor: Duration
    /// Such as `idle in transaction`.
    public var activity: String
    /// What the lease was taken for; nil when it was not said.
    public var purpose: String?

    public var description: String {
        let why = purpose.map { ", for \($0)" } ?? ""
        return "pid \(processID) \"\(program)\" for \(heldFor) (\(activity)\(why))"
    }

    /// Reads `Held by: pid 12 "app" for 3.2 s (idle in transaction, for backfill.pendingJobs), …`
    /// out of an error's detail. What it cannot read it leaves out.
    static func list(in detail: String) -> [Holder] {
        guard let start = detail.ranges(of: "Held by: ").first?.upperBound else { return [] }
        var rest = detail[start...]
        var holders: [Holder] = []
        while let holder = take(&rest) {
            holders.append(holder)
            guard rest.hasPrefix(", ") else { break }
            rest = rest.dropFirst(2)
        }
        return holders
    }

    private static func take(_ rest: inout Substring) -> Holder? {
        var processID = 0
        if rest.hasPrefix("pid ") {
            let digits = rest.dropFirst(4).prefix { $0.isNumber }
            processID = Int(digits) ?? 0
            rest = rest.dropFirst(4 + digits.count)
        }
        // What names it otherwise (`client 7`) is passed over up to the quoted name or the time.
        var program = ""
        guard let time = rest.ranges(of: " for ").first else { return nil }
        if let quote = rest[..<time.lowerBound].firstIndex(of: "\"") {
            let after = rest.index(after: quote)
            guard let end = rest[after...].ranges(of: "\" for ").first else { return nil }
            program = String(rest[after..<end.lowerBound])
            rest = rest[end.upperBound...]
        } else {
            rest = rest[time.upperBound...]
        }
        guard let heldFor = takeDuration(&rest), rest.hasPrefix(" (") else { return nil }
        rest = rest.dropFirst(2)
        guard let end = closing(rest) else { return nil }
        let inside = rest[..<end]
        rest = rest[rest.index(after: end)...]
        guard let comma = inside.ranges(of: ", for ").first else {
            return Holder(
                processID: processID, program: program, heldFor: heldFor, activity: String(inside))
        }
        return Holder(
            processID: processID, program: program, heldFor: heldFor,
            activity: String(inside[..<comma.lowerBound]),
            purpose: String(inside[comma.upperBound...]))
    }

    /// The parenthesis that ends it: the first one that the next holder, or nothing, follows.
    private static func closing(_ text: Substring) -> Substring.Index? {
        var index = text.startIndex
        while let found = text[index...].firstIndex(of: ")") {
            let after = text[text.index(after: found)...]
            let ends = [", pid ", ", client ", ", and ", "."]
            if after.isEmpty || ends.contains(where: { after.hasPrefix($0) }) { return found }
            index = text.index(after: found)
        }
        return nil
    }

    private static func takeDuration(_ rest: inout Substring) -> Duration? {
        let number = rest.prefix { $0.isNumber || $0 == "." }
        guard let value = Double(number) else { return nil }
        let unit = rest.dropFirst(number.count).drop { $0 == " " }.prefix { $0.isLetter }
        let factor: Double
        switch unit {
        case "ms": factor = 0.001
        case "s": factor = 1
        case "min": factor = 60
        case "h": factor = 3600
        default: return nil
        }
        rest = rest[unit.endIndex...]
        return .milliseconds(Int64((value * factor * 1000).rounded()))
    }
}
