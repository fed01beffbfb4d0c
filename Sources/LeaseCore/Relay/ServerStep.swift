// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// What a turn of the relay from a server to its client brought about, besides bytes.
///
/// Most turns bring about nothing but counts: all else lies in an object that is made when it is needed.
package struct ServerStep {
    /// Bytes of the input that are dealt with.
    package var consumed = 0
    /// Queries and transactions that ended.
    package var queries = 0
    package var transactions = 0
    private var news: News?

    private final class News {
        var broken: String?
        var brokerAnswer: BrokerAnswer?
        var fatal: PgError?
        var hasNotified = false
        var changedParameters: [(name: String, value: String)] = []
        var brokerParameters: [(name: String, value: String)] = []
        var followedSetting: SessionSetting?
        var resets: [SettingsReset] = []
        var freshResets: [SettingsReset] = []
        var openResets: [SettingsReset] = []
        var restoredParameters: [(name: String, value: String)] = []
        var wasReadOnly = false
    }

    /// Something besides counts.
    @inline(__always)
    package var hasNews: Bool { news != nil }

    private mutating func newsToChange() -> News {
        if let news { return news }
        let made = News()
        news = made
        return made
    }

    /// The server does not speak the protocol any more: close it.
    package var broken: String? {
        get { news?.broken }
        set { newsToChange().broken = newValue }
    }
    /// The broker's own query has its answer; an error if it failed.
    package var brokerAnswer: BrokerAnswer? {
        get { news?.brokerAnswer }
        set { newsToChange().brokerAnswer = newValue }
    }
    /// The server said why it is about to end the connection. Passed on only where the session is the
    /// server's (`pool_mode = session`): else the client is told in the broker's words.
    package var fatal: PgError? {
        get { news?.fatal }
        set { newsToChange().fatal = newValue }
    }
    /// A notification came: the session listens.
    package var hasNotified: Bool {
        get { news?.hasNotified ?? false }
        set { newsToChange().hasNotified = newValue }
    }
    /// Values that the client's own statements changed, as the server reported them.
    package var changedParameters: [(name: String, value: String)] {
        get { news?.changedParameters ?? [] }
        set { newsToChange().changedParameters = newValue }
    }
    /// Values that the broker's own query changed.
    package var brokerParameters: [(name: String, value: String)] {
        get { news?.brokerParameters ?? [] }
        set { newsToChange().brokerParameters = newValue }
    }
    /// A setting that the client changed by a statement alone. Its taint stays until it is claimed.
    package var followedSetting: SessionSetting? {
        get { news?.followedSetting }
        set { newsToChange().followedSetting = newValue }
    }
    /// What DISCARD ALL and RESET put back to the session's defaults for good, in their order.
    package var resets: [SettingsReset] {
        get { news?.resets ?? [] }
        set { newsToChange().resets = newValue }
    }
    /// The last of them, of which nothing was told while their transaction was open.
    package var freshResets: [SettingsReset] {
        get { news?.freshResets ?? [] }
        set { newsToChange().freshResets = newValue }
    }
    /// The same in a transaction that goes on: it may still be rolled back.
    package var openResets: [SettingsReset] {
        get { news?.openResets ?? [] }
        set { newsToChange().openResets = newValue }
    }
    /// Values that the client was told instead of those that the server reported: its own defaults are those
    /// of its startup packet.
    package var restoredParameters: [(name: String, value: String)] {
        get { news?.restoredParameters ?? [] }
        set { newsToChange().restoredParameters = newValue }
    }
    /// A client's statement was refused because its transaction is read-only.
    package var wasReadOnly: Bool {
        get { news?.wasReadOnly ?? false }
        set { newsToChange().wasReadOnly = newValue }
    }
    package var sessionWasReset: Bool { !resets.isEmpty }
}
