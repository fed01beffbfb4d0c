// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// Whoever can answer: the broker, or a stand-in in tests. What it shows it shows from a `BrokerSnapshot`; what it is
/// told to do it does itself.
package protocol ConsoleBackend {
    func show(_ command: ShowCommand, into rows: inout ConsoleRows)
    /// Carries the command out; what it has to say besides its tag goes to `reply` as notices.
    func perform(
        _ command: ConsoleCommand, into reply: inout [UInt8]
    ) throws(ConsoleRefusal) -> ConsoleOutcome
    func applicationNameChanged(_ name: String)
}

/// A command was carried out.
package struct ConsoleOutcome {
    package var tag: String
    /// What must have come about before the client has its answer.
    package var wait: ConsoleWait?
    /// What may not begin before the client has its answer.
    package var afterwards: ConsoleOrder?

    package init(tag: String, wait: ConsoleWait? = nil, afterwards: ConsoleOrder? = nil) {
        self.tag = tag
        self.wait = wait
        self.afterwards = afterwards
    }
}

/// What is done once the answer is on its way.
package enum ConsoleOrder: Equatable {
    case shutDown(ShutdownMode)
}

/// What an answer of the console waits for.
package enum ConsoleWait: Equatable {
    /// PAUSE and KILL: no server connection is left. nil: of any database.
    case paused(String?)
    /// WAIT_CLOSE: none is left of those that were to be closed.
    case closed(Set<ServerID>)
}

/// What the console says of itself, and which words it knows besides its own.
package struct ConsoleTerms: Sendable {
    /// The broker's version.
    let version: String
    /// A setting of the configuration file, as opposed to a parameter of PostgreSQL.
    let isSetting: @Sendable (String) -> Bool

    package init(version: String, isSetting: @escaping @Sendable (String) -> Bool) {
        self.version = version
        self.isSetting = isSetting
    }

    package var serverVersion: String { "15.0 (pglease \(version))" }
}
