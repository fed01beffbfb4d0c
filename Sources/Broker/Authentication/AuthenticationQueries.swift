// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibUV
import Logging
import PostgresWire

/// Logins that wait for what `auth_query` says, and the sessions that ask it.
///
/// The broker asks as a client of its own: each question waits for its connection as any client's query, under the
/// same limits, and connections that nobody has left anything on serve it. Nothing is remembered from one login
/// to the next, as in pgbouncer: a password that is changed counts at once.
struct AuthenticationQueries {
    /// The line of [databases] and the role that asks.
    struct Place: Hashable {
        var database: String
        var user: String
    }

    struct Question {
        /// Who waits for the answer.
        let client: ClientID
        let user: String
        let text: String
        let answered: (Broker, QueriedSecret) -> Void
        /// How often the server was lost that had been asked.
        var losses = 0
    }

    /// For one place.
    static let sessionsAtOnce = 4
    /// How long the same failure is not logged again.
    static let silence = Duration.seconds(60)
    /// A question changes nothing: it is put again where its server is lost, as in a failover.
    static let mostLosses = 3

    var waiting: [Place: [Question]] = [:]
    var sessions: [Place: [AuthenticationSession]] = [:]
    var failures: [Place: (reason: String, since: Instant)] = [:]
    /// How the secrets are stored that were found last: users that do not exist look the same.
    var recentForm: SecretForm?
}

extension Broker {
    /// Puts a question; it is answered later, unless its client goes first.
    func ask(_ question: AuthenticationQueries.Question, at place: AuthenticationQueries.Place) {
        jobs.queries.waiting[place, default: []].append(question)
        openSession(at: place)
    }

    private func openSession(at place: AuthenticationQueries.Place) {
        let open = jobs.queries.sessions[place] ?? []
        guard open.count < AuthenticationQueries.sessionsAtOnce,
            open.count < jobs.queries.waiting[place]?.count ?? 0
        else { return }
        guard let pool = authenticationPool(at: place) else {
            failAll(at: place, .refused(noSuchDatabase(place.database)))
            return
        }
        do throws(UVError) {
            let ends = try Descriptor.makeSocketPair()
            let session: AuthenticationSession
            do throws(UVError) {
                session = try AuthenticationSession(of: self, descriptor: ends.0, place: place)
            } catch {
                Descriptor.close(ends.0)
                Descriptor.close(ends.1)
                throw error
            }
            jobs.queries.sessions[place, default: []].append(session)
            admitOurselves(ends.1, to: pool)
        } catch {
            failAll(
                at: place, .refused(.error(.insufficientResources, "no session: \(error)")))
        }
    }

    /// The pool of the role that asks: of the role itself, whatever user the database's line has for clients.
    private func authenticationPool(at place: AuthenticationQueries.Place) -> DatabasePool? {
        guard let entry = configuration.database(named: place.database) else { return nil }
        let key = PoolKey(database: place.database, user: place.user)
        return directory.pools[key] ?? openPool(key, entry, startup: Self.firstLook)
    }

    private func admitOurselves(_ descriptor: Int32, to pool: DatabasePool) {
        guard let watcher = try? FileWatcher(loop: loop, descriptor: descriptor) else {
            Descriptor.close(descriptor)
            return
        }
        let id = engine.accept(isUnix: true, loginDeadline: nil, now: now)
        let client = ClientConnection(
            id: id, descriptor: descriptor, peer: nil, isUnix: true, number: counters.accepted,
            broker: self)
        world.clients.insert(client, at: id)
        client.isOurs = true
        client.watcher = watcher
        watcher.delegate = client
        client.user = pool.user
        client.database = pool.database
        client.applicationName = Self.ownName
        let login = ClientLogin()
        login.settings = authenticationSettings
        login.isAuthenticated = true
        client.login = login
        watcher.watch(.readable)
        join(client, pool)
    }

    private static let ownName = "pglease auth_query"

    /// No name is resolved through a search_path, and temporary objects hide nothing.
    private var authenticationSettings: [ProfileEntry] {
        let longest = settings.clientLoginTimeout ?? .seconds(60)
        return [
            ProfileEntry(name: "application_name", value: Self.ownName),
            ProfileEntry(name: "search_path", value: "pg_catalog, pg_temp"),
            ProfileEntry(
                name: "statement_timeout", value: "\(max(1, longest.components.seconds) * 1000)"),
        ]
    }

    // MARK: Sessions

    /// The next question whose client is still there; nil: none is left.
    func nextQuestion(at place: AuthenticationQueries.Place) -> AuthenticationQueries.Question? {
        while let first = jobs.queries.waiting[place]?.first {
            jobs.queries.waiting[place]?.removeFirst()
            if isSetAside(first.client) { return first }
        }
        jobs.queries.waiting[place] = nil
        return nil
    }

    /// The session is over: it has asked all that there was to ask, or was refused or lost.
    func ended(_ session: AuthenticationSession, _ failure: PgError?) {
        let place = session.place
        jobs.queries.sessions[place]?.removeAll { $0 === session }
        if jobs.queries.sessions[place]?.isEmpty == true { jobs.queries.sessions[place] = nil }
        guard let failure else { return }
        if let question = session.question { deliver(.refused(failure), to: question, at: place) }
        if session.hasAsked {
            openSession(at: place)
        } else {
            // Nobody was let in: the next would wait for the same refusal.
            failAll(at: place, .refused(failure))
        }
    }

    /// Hands an answer over, unless it is the loss of the server.
    func deliver(
        _ answer: QueriedSecret, to question: AuthenticationQueries.Question,
        at place: AuthenticationQueries.Place
    ) {
        guard case .refused(let error) = answer, Self.isLoss(error.sqlState),
            question.losses < AuthenticationQueries.mostLosses
        else {
            question.answered(self, answer)
            return
        }
        var again = question
        again.losses += 1
        jobs.queries.waiting[place, default: []].insert(again, at: 0)
    }

    private static func isLoss(_ state: SQLState) -> Bool {
        state == .connectionFailure || state == .adminShutdown || state == .crashShutdown
    }

    private func failAll(at place: AuthenticationQueries.Place, _ answer: QueriedSecret) {
        for question in jobs.queries.waiting.removeValue(forKey: place) ?? [] {
            question.answered(self, answer)
        }
    }

    /// Nobody waits any more for what a session asks for this client: it goes, and its query is cancelled.
    func abandonQuestion(of client: ClientID) {
        for sessions in jobs.queries.sessions.values {
            for session in sessions where session.question?.client == client {
                session.close()
                ended(session, nil)
                openSession(at: session.place)
            }
        }
    }
}
