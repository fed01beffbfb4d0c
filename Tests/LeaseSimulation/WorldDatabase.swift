// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// A PostgreSQL with the databases of several pools, and strangers who take places as well.
struct WorldHost {
    /// Its `max_connections`.
    var limit = 1000
    var open = 0
    var strangers = 0

    var isFull: Bool { open + strangers >= limit }
}

/// How PostgreSQL, as one pool sees it, answers those who connect.
struct WorldDatabase {
    enum Mood: CaseIterable {
        case accepts, refuses, hangs, saturates, rejectsLogin, dislikesProfiles
    }

    enum Answer {
        case accept(after: Duration)
        case fail(ConnectFailure, after: Duration)
    }

    var mood = Mood.accepts
    /// Its CONNECTION LIMIT.
    var limit = 100
    var open = 0
    /// Where it runs, in `SchedulerWorld.hosts`.
    var host = 0
    /// What the scheduler is told of that; nil: nothing.
    var keys: FenceKeys?

    func answer(
        profile: ProfileID, on host: WorldHost, using random: inout SeededGenerator
    ) -> Answer {
        let answer = answer(profile: profile, using: &random)
        guard case .accept(let delay) = answer, host.isFull else { return answer }
        return .fail(Self.tooManyOnServer, after: delay)
    }

    private func answer(profile: ProfileID, using random: inout SeededGenerator) -> Answer {
        let quick = Duration.microseconds(Int.random(in: 100...20_000, using: &random))
        switch mood {
        case .accepts:
            if open >= limit { return .fail(Self.tooMany, after: quick) }
            return .accept(after: quick)
        case .refuses: return .fail(Self.refused, after: quick)
        case .hangs: return .fail(Self.timedOut, after: .seconds(5))
        case .saturates:
            if open > 1 { return .fail(Self.tooMany, after: quick) }
            return .accept(after: quick)
        case .rejectsLogin: return .fail(Self.noLogin, after: quick)
        case .dislikesProfiles:
            if profile != .serverDefault { return .fail(Self.noSuchParameter, after: quick) }
            return .accept(after: quick)
        }
    }

    static let refused = ConnectFailure(
        kind: .transient, error: .fatal(SQLState(rawValue: "08001"), "connection refused"))
    static let timedOut = ConnectFailure(
        kind: .transient, error: .fatal(SQLState(rawValue: "08001"), "timeout expired"))
    static let tooMany = ConnectFailure(
        kind: .saturated,
        error: .fatal(SQLState(rawValue: "53300"), "too many connections for database"),
        scope: .database)
    static let tooManyOnServer = ConnectFailure(
        kind: .saturated, error: .fatal(SQLState(rawValue: "53300"), "too many clients already"))
    static let noLogin = ConnectFailure(
        kind: .permanent,
        error: .fatal(SQLState(rawValue: "28P01"), "password authentication failed"))
    static let noSuchParameter = ConnectFailure(
        kind: .permanent, error: .fatal(SQLState(rawValue: "42704"), "unrecognized parameter"))
}
