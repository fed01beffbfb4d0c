// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// One that holds a lease while others wait, as the broker names it.
public struct Holder: Equatable, Sendable, CustomStringConvertible {
    /// 0 when the broker cannot see it (a client over TCP).
    public var processID: Int
    /// The program or application name; empty when unknown.
    public var program: String
    public var heldFor: Duration
    /// Such as `idle in transaction`.
    public var activity: String
    /// The thread that holds it, as it was said with the lease; nil when it was not.
    public var thread: String?
    /// What the lease was taken for; nil when it was not said.
    public var purpose: String?

    public var description: String {
        let thread = thread.map { ", thread \($0)" } ?? ""
        let why = purpose.map { ", for \($0)" } ?? ""
        return "pid \(processID) \"\(program)\" for \(heldFor) (\(activity)\(thread)\(why))"
    }

    /// The holders that an error's DETAIL names, by the grammar of docs/error-details.md.
    static func list(in detail: String) -> [Holder] {
        HolderList.read(detail).map { holder in
            var processID = 0
            if case .process(let number) = holder.who { processID = Int(number) }
            return Holder(
                processID: processID, program: holder.program, heldFor: holder.heldFor,
                activity: holder.activity, thread: holder.thread, purpose: holder.purpose)
        }
    }
}
