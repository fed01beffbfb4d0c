// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import LibPQ
import LibUV
import Logging
import PostgresWire

/// The bounds that this broker shares with those of other hosts.
struct Sharing {
    var bounds = SharedBoundTable()
}

/// The bounds by the keys that the scheduler knows them by. One that the configuration does not name any more has no
/// pools, and asks nothing.
struct SharedBoundTable {
    var all: [SharedBound] = []

    mutating func key(of name: SharedBoundName) -> UInt32 {
        if let place = all.firstIndex(where: { $0.name == name }) { return UInt32(place) }
        all.append(SharedBound(name: name))
        return UInt32(all.count - 1)
    }
}

/// One bound: where its table is, what it said, and how the asking goes.
struct SharedBound {
    let name: SharedBoundName
    /// One run of this broker, as the table calls it. Each line has its own: two may ask in one table by different ways.
    let holder = UUIDText.random()
    var machine: BoundShare
    var need = ShareNeed()
    /// The connection that asked last, kept until the first of the pools' stands.
    var witness: BlockingConnection?
    /// Why the last question had no answer; nil: it had.
    var failure: PgError?
    var questions = 0
    /// The server has refused the last password.
    var isPasswordRefused = false
    /// What was read for the last question.
    var password: Secret?

    init(name: SharedBoundName) {
        self.name = name
        machine = BoundShare(
            seed: UInt64.random(in: .min ... .max), asksApart: name.user != nil)
    }
}

/// Version 4 of RFC 9562.
enum UUIDText {
    static func random() -> String {
        var digits = (0..<32).map { _ in "0123456789abcdef".randomElement()! }
        digits[12] = "4"
        digits[16] = "89ab".randomElement()!
        let text = String(digits)
        let cuts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
        return cuts.map { String(Array(text)[$0.0..<$0.1]) }.joined(separator: "-")
    }
}

extension CloseReason {
    /// It was not the broker that ended it: PostgreSQL may have been started anew, or be another one.
    var isLoss: Bool {
        switch self {
        case .lost, .broken, .validationFailed, .resetFailed: true
        default: false
        }
    }
}

extension Broker {
    /// Asks where it is time to, and gives up what is not answered.
    func lookAtShares(_ now: Instant) {
        for place in sharing.bounds.all.indices {
            let key = UInt32(place)
            guard !sharedPools(key).isEmpty else {
                dismissWitness(place)
                continue
            }
            if sharing.bounds.all[place].machine.isOverdue(now) {
                sharing.bounds.all[place].machine.giveUp("it did not answer in time", now)
                shareFailed(place, Self.tableSilent)
            }
            let need = engine.scheduler.takeNeed(ofShare: key, now)
            sharing.bounds.all[place].need = need
            sharing.bounds.all[place].machine.note(want: need.want, now)
            // Its last connection may have ended to make room for the question.
            lookAtWitness(place, need, now)
            let machine = sharing.bounds.all[place].machine
            if need.open == 0, sharing.bounds.all[place].witness == nil, machine.needsWitness {
                voidShare(place)
            }
            switch sharing.bounds.all[place].machine.turn(used: need.used, now) {
            case .ask(let isWithin): askForShare(place, need, isWithin: isWithin)
            case .later:
                if machine.makesRoom != sharing.bounds.all[place].machine.makesRoom { allow(place) }
            }
            housekeeping(by: sharing.bounds.all[place].machine.deadline)
        }
    }

    /// Somebody waits for a place: the table is asked as soon as it may be.
    func shareWanted(_ key: UInt32) {
        sharing.bounds.all[Int(key)].machine.hurry(now)
        housekeeping(by: sharing.bounds.all[Int(key)].machine.deadline)
    }

    /// The pool's PostgreSQL may be another one from now on.
    func connectionLost(in pool: DatabasePool) {
        guard let bound = sharedBound(of: pool) else { return }
        let place = Int(sharing.bounds.key(of: bound))
        voidShare(place)
        housekeeping(by: now)
    }

    /// `keepsPace`: nothing was lost, and it is not asked at once.
    func voidShare(_ place: Int, keepsPace: Bool = false) {
        dismissWitness(place)
        sharing.bounds.all[place].machine.void(keepsPace: keepsPace)
        allow(place, isVoid: true)
    }

    func allow(_ place: Int, isVoid: Bool = false) {
        let allowance = sharing.bounds.all[place].machine.allowance
        post(.shareChanged(UInt32(place), allowance, isVoid: isVoid))
    }

    func sharedBound(of pool: DatabasePool) -> SharedBoundName? {
        configuration.database(named: pool.database).flatMap { configuration.sharedBound(of: $0) }
    }

    func sharedPools(_ key: UInt32) -> [DatabasePool] {
        let name = sharing.bounds.all[Int(key)].name
        return directory.pools.inOrder.filter { sharedBound(of: $0) == name }
    }

    // MARK: Asking

    private func askForShare(_ place: Int, _ need: ShareNeed, isWithin: Bool) {
        let now = now
        let bound = sharing.bounds.all[place].name
        guard let asker = asker(place) else {
            sharing.bounds.all[place].machine.postpone(now)
            return
        }
        let question = sharing.bounds.all[place].machine.ask(
            used: need.used, isWithin: isWithin, now)
        sharing.bounds.all[place].questions += 1
        allow(place)
        let statement = ShareTalk.question(
            bound.name, holder: sharing.bounds.all[place].holder, host: HostName.own,
            weight: settings.sharedWeight, question, backends: sharedBackends(UInt32(place)))
        let keepsConnection = need.open == 0 && question.want > 0
        let isRefused = sharing.bounds.all[place].isPasswordRefused
        readPassword(
            of: asker.user, asker.entry, database: asker.database, isRefused: isRefused
        ) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let read):
                self.send(
                    statement, question.number, place, asker, read ?? asker.password,
                    keepsConnection)
            case .failure(let failure):
                self.shareAnswered(
                    place, question.number,
                    .failure(.error(.error(.invalidPassword, "no password: \(failure.reason)"))))
            }
        }
    }

    private func send(
        _ statement: ShareTalk.Statement, _ number: Int64, _ place: Int, _ asker: ShareAsker,
        _ password: Secret?, _ keepsConnection: Bool
    ) {
        // While the password was read, the question may have been given up.
        guard sharing.bounds.all[place].machine.isAsking(number) else { return }
        sharing.bounds.all[place].password = password
        let talk = ShareTalk(
            parameters: askingParameters(asker, password), statement: statement,
            keepsConnection: keepsConnection)
        do throws(UVError) {
            try loop.submit(
                { talk.ask() },
                then: { [weak self] in
                    self?.shareAnswered(place, number, $0, hasOnlyKeys: asker.hasOnlyKeys)
                })
        } catch {
            shareAnswered(
                place, number,
                .failure(.error(.error(.insufficientResources, "no worker thread: \(error)"))))
        }
    }

    private func shareAnswered(
        _ place: Int, _ number: Int64, _ result: Result<ShareTalk.Answer, ShareTalk.Failure>,
        hasOnlyKeys: Bool = false
    ) {
        let now = now
        switch result {
        case .success(let answer):
            let isAwaited = sharing.bounds.all[place].machine.isAsking(number)
            if isAwaited { dismissWitness(place) }
            sharing.bounds.all[place].machine.take(
                answer.answer, to: number, isKept: answer.witness != nil, now)
            if let witness = answer.witness {
                keep(witness, place, isAwaited: isAwaited, now)
            }
            sharing.bounds.all[place].isPasswordRefused = false
            shareRecovered(place)
        case .failure(.noRoom(let error)):
            sharing.bounds.all[place].machine.crowdedOut(error.message, of: number, now)
            if sharing.bounds.all[place].machine.isCrowdedOut {
                shareFailed(place, Self.crowded(error, sharing.bounds.all[place].name))
            }
        case .failure(.error(var error)):
            sharing.bounds.all[place].machine.fail(error.message, to: number, now)
            sharing.bounds.all[place].isPasswordRefused = error.sqlState.rawValue.hasPrefix("28")
            if hasOnlyKeys, error.hint == nil { error.hint = Self.keysHint }
            shareFailed(place, error)
        }
        allow(place)
        lookAgain(place, now)
        dealWithNotices()
    }

    private func sharedBackends(_ key: UInt32) -> [Int32] {
        let pools = Set(sharedPools(key).map(\.id))
        return servers.values.filter { $0.isConnected && pools.contains($0.pool.id) }
            .map(\.backendProcessID)
    }

    // MARK: News

    private func shareFailed(_ place: Int, _ error: PgError) {
        let wasWell = sharing.bounds.all[place].failure == nil
        sharing.bounds.all[place].failure = error
        if !error.sqlState.isTransient {
            post(
                .shareFailed(
                    UInt32(place),
                    ConnectFailure(
                        kind: .permanent, error: Self.refused(sharing.bounds.all[place].name, error)
                    )))
        }
        guard wasWell else { return }
        let name = sharing.bounds.all[place].name
        logger.warning(
            "the table of a shared bound cannot be asked: connections that are open stay, none is opened",
            metadata: [
                "bound": "\(name.name)", "database": "\(name.database)",
                "sqlstate": "\(error.sqlState.rawValue)", "reason": "\(error.message)",
                "hint": "\(error.hint ?? Self.shareHint)",
            ])
        note(.shareLost, .warning, "shared bound \(name.name): \(error.message)", cause: name.name)
    }

    private func shareRecovered(_ place: Int) {
        guard sharing.bounds.all[place].failure != nil else { return }
        sharing.bounds.all[place].failure = nil
        let name = sharing.bounds.all[place].name
        logger.notice(
            "the table of a shared bound answers again", metadata: ["bound": "\(name.name)"])
        note(.shareRecovered, .notice, "shared bound \(name.name) answers again", cause: name.name)
    }

    private static func refused(_ bound: SharedBoundName, _ error: PgError) -> PgError {
        .error(
            error.sqlState, "shared_bound \"\(bound.name)\" cannot be asked for: \(error.message)",
            detail: error.detail, hint: error.hint ?? shareHint)
    }

    private static let tableSilent = PgError.error(
        .connectionFailure, "the table did not answer in time")
    private static func crowded(_ error: PgError, _ bound: SharedBoundName) -> PgError {
        .error(
            error.sqlState, "no room to ask: \(error.message)", detail: error.detail,
            hint: bound.user.map {
                "The CONNECTION LIMIT of role \"\($0)\" is the number of places to ask with: raise it and "
                    + "--spare, or see in pg_stat_activity who has them."
            }
                ?? "Others than this bound's brokers take what max_connections or CONNECTION LIMIT leaves."
        )
    }

    private static let keysHint =
        "The broker has only a SCRAM secret of this role, and asks with a password: shared_bound_user names a role "
        + "whose password is in auth_file."
    private static let shareHint =
        "pglease share init makes the table, and says which rights the role needs."

    var shareFacts: [ShareFacts] {
        sharing.bounds.all.indices.compactMap { place in
            let bound = sharing.bounds.all[place]
            guard !sharedPools(UInt32(place)).isEmpty else { return nil }
            var need = bound.need
            need.used = engine.scheduler.places(ofShare: UInt32(place))
            if bound.machine.asksWithin { need.used += 1 }
            let state: ShareFacts.State =
                bound.failure != nil
                ? .failing : bound.machine.allowance.until > now ? .open : .asking
            return ShareFacts(
                bound: bound.name.name, database: bound.name.database, state: state,
                answer: bound.machine.answer, need: need, weight: settings.sharedWeight,
                questions: bound.questions, holder: bound.holder, error: bound.failure?.message)
        }
    }

    // MARK: The end

    /// Gives back what this broker has, once PostgreSQL has seen its connections end; waits for that a second at most.
    func leaveShares() {
        for place in sharing.bounds.all.indices
        where sharing.bounds.all[place].machine.answer != nil {
            sharing.bounds.all[place].witness?.close()
            sharing.bounds.all[place].witness = nil
            guard let asker = asker(place) else { continue }
            let backends = sharedBackends(UInt32(place))
            for server in servers.values
            where sharedBound(of: server.pool) == sharing.bounds.all[place].name {
                closeSocket(of: server, isClean: true)
            }
            let talk = ShareTalk(
                parameters: askingParameters(
                    asker, sharing.bounds.all[place].password ?? asker.password),
                statement: ShareTalk.farewell(
                    sharing.bounds.all[place].name.name, holder: sharing.bounds.all[place].holder,
                    backends: backends), patience: .seconds(2)
            )
            talk.leave()
        }
    }
}

extension SQLState {
    /// Of a connection, of resources, of an operator: another attempt may be answered.
    fileprivate var isTransient: Bool {
        ["08", "53", "55", "57", "58", "40", "XX"].contains(rawValue.prefix(2))
    }
}
