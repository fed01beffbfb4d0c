// SPDX-License-Identifier: Apache-2.0

import Broker
import BrokerConfiguration
import Glibc
import LibPQ
import OperatorTools

/// Each PostgreSQL of [databases]: reached, logged in to, and asked for its limits.
struct ServerExam {
    static let topic = "server"
    /// More databases and roles than that say nothing new.
    private static let mostTrials = 64

    private(set) var findings: [Finding] = []
    /// Some server connection uses TLS.
    private(set) var usesTLS = false
    private let loaded: LoadedConfiguration
    private let broker: BrokerExam
    private let role: String?
    private let timeout: Duration
    private var budgets: [(identity: String, host: String, pools: [ConnectionBudget.Pool])] = []
    private var clocks: Set<String> = []

    init(_ loaded: LoadedConfiguration, _ broker: BrokerExam, role: String?, timeout: Duration) {
        self.loaded = loaded
        self.broker = broker
        self.role = role
        self.timeout = timeout
    }

    mutating func run() {
        let trials = trials
        for trial in trials.prefix(Self.mostTrials) { examine(trial) }
        if trials.count > Self.mostTrials {
            findings.append(
                .warning(
                    Self.topic,
                    "the first \(Self.mostTrials) of \(trials.count) pools were looked at",
                    do: "look at the others by a configuration that has only them"))
        }
        judgeBudgets()
        let queries = AuthQueryExam(loaded, timeout: timeout)
        let shares = ShareExam(
            loaded, pools: trials.compactMap { t in t.user.map { (t.entry, $0) } }, timeout: timeout
        )
        findings += queries.findings + shares.findings
    }

    // MARK: Whom to log in as

    struct Trial {
        let entry: DatabaseEntry
        let database: String
        /// nil: no role is known.
        let user: String?
    }

    /// A line's own user; else the roles whose pools the broker has open; else --role.
    private var trials: [Trial] {
        let configuration = loaded.configuration
        let open = broker.reading?.pools ?? []
        return configuration.databases.flatMap { entry -> [Trial] in
            if let user = entry.forcedUser, !entry.isFallback {
                return [Trial(entry: entry, database: entry.name, user: user)]
            }
            var found: [Trial] = []
            for pool in open where configuration.database(named: pool.database)?.name == entry.name
            {
                found.append(Trial(entry: entry, database: pool.database, user: pool.user))
            }
            if !found.isEmpty { return found }
            let database = entry.isFallback ? "postgres" : entry.name
            return [Trial(entry: entry, database: database, user: entry.forcedUser ?? role)]
        }
    }

    // MARK: One line of [databases]

    private mutating func examine(_ trial: Trial) {
        let user = trial.user ?? "postgres"
        let login = TrialLogin(loaded, trial.entry, database: trial.database, user: user)
        let name = trial.user.map { "\(trial.database)/\($0)" } ?? trial.database
        if case .unread(let reason) = login.password {
            findings.append(
                .wrong(
                    Self.topic, "\(name): no password: \(reason)",
                    do: "run the command, or look at the file, as the broker's user"))
            return
        }
        var unknown: [String] = []
        let addresses: [(host: String, parameters: ConnectionParameters)]
        do throws(ConnectionStringError) {
            addresses = try login.addresses { host, port in
                let found = AddressLookup.addresses(host, port)
                if found.isEmpty { unknown.append(host) }
                return found
            }
        } catch {
            findings.append(
                .wrong(
                    Self.topic, "\(name): \(error.message)", do: "correct its line in [databases]"))
            return
        }
        for host in unknown {
            findings.append(
                .wrong(
                    Self.topic, "\(name): the name \(host) has no address",
                    do: "check the host in [databases], and the name service of this machine"))
        }
        var failures: [(host: String, failure: ConnectionFailure)] = []
        for (host, parameters) in addresses {
            if let failure = look(at: host, parameters, trial, name) {
                failures.append((host, failure))
            }
        }
        // One that answers will do, as for localhost with its two addresses; of a list each is meant.
        let isServed = failures.count < addresses.count
        guard !isServed || trial.entry.hasHostList else { return }
        for (host, failure) in failures {
            refuse(failure, host, trial, name, login, isServed: isServed)
        }
    }

    /// Returns why there is no session there.
    private mutating func look(
        at host: String, _ parameters: ConnectionParameters, _ trial: Trial, _ name: String
    ) -> ConnectionFailure? {
        do throws(ConnectionFailure) {
            let session = try TrialSession(parameters, timeout: timeout)
            defer { session.close() }
            let before = Self.now
            let rows: [[String?]]
            do throws(ServerMessage) {
                rows = try session.rows(TrialFacts.question)
            } catch {
                findings.append(
                    .warning(
                        Self.topic,
                        "\(name) at \(host): logged in, and what it is cannot be asked: \(error.message)",
                        do: "see whether it is a PostgreSQL of version 10 or later, and no pooler"))
                return nil
            }
            guard let facts = rows.first.flatMap({ TrialFacts(row: $0) }) else {
                findings.append(
                    .warning(
                        Self.topic,
                        "\(name) at \(host): logged in, and its answers are not PostgreSQL's",
                        do: "see what listens there"))
                return nil
            }
            accept(facts, host, trial, name, before, Self.now)
            return nil
        } catch {
            return error
        }
    }

    private mutating func accept(
        _ facts: TrialFacts, _ host: String, _ trial: Trial, _ name: String, _ before: Int64,
        _ after: Int64
    ) {
        usesTLS = usesTLS || facts.usesTLS
        let place = facts.isInRecovery ? "a standby" : "a primary"
        let tls = facts.usesTLS ? "TLS" : "without TLS"
        let text = "\(name) at \(host): PostgreSQL \(facts.version), \(place), \(tls)"
        let wanted = trial.entry.serverParameter("target_session_attrs") ?? "any"
        let fits =
            switch wanted {
            case "read-write", "primary": !facts.isInRecovery
            case "read-only", "standby": facts.isInRecovery
            default: true
            }
        // One of several may be the other kind: that is what the list is for.
        if fits || trial.entry.hasHostList {
            findings.append(.ok(Self.topic, text))
        } else {
            findings.append(
                .wrong(
                    Self.topic, "\(text); its line asks for target_session_attrs=\(wanted)",
                    do: "correct host, or name all hosts in the line"))
        }
        judgeClock(facts, host, before, after)
        guard trial.user != nil else { return }
        let limits = loaded.configuration.poolSettings(database: trial.entry, user: facts.role)
        let size = limits.size > 0 ? limits.size + limits.reserveSize : nil
        let most = [size, limits.maxDbConnections, limits.maxUserConnections].compactMap { $0 }
            .min()
        let pool = ConnectionBudget.Pool(name: name, facts: facts, size: most)
        if let place = budgets.firstIndex(where: { $0.identity == facts.identity }) {
            if !budgets[place].pools.contains(where: { $0.name == name }) {
                budgets[place].pools.append(pool)
            }
        } else {
            budgets.append((facts.identity, host, [pool]))
        }
    }

    private mutating func judgeClock(
        _ facts: TrialFacts, _ host: String, _ before: Int64, _ after: Int64
    ) {
        guard clocks.insert(facts.identity).inserted else { return }
        let off = facts.time < before ? before - facts.time : max(0, facts.time - after)
        let shown = Quantity.duration(microseconds: Int(off))
        findings.append(
            off > 2_000_000
                ? .warning(
                    "clock", "the clock of \(host) and this machine's differ by \(shown)",
                    do:
                        "synchronise both (chrony, systemd-timesyncd): certificates and logs need it"
                )
                : .ok("clock", "the clock of \(host) and this machine's agree"))
    }

    private mutating func refuse(
        _ failure: ConnectionFailure, _ host: String, _ trial: Trial, _ name: String,
        _ login: TrialLogin, isServed: Bool
    ) {
        let isPasswordMissing = failure.raw.contains("no password supplied")
        if trial.user == nil, failure.sqlState != nil || isPasswordMissing {
            findings.append(
                .ok(
                    Self.topic,
                    "\(name) at \(host): a PostgreSQL answers; no login was tried, as no role is known (--role)"
                ))
        } else if isPasswordMissing, login.password == .hashed {
            findings.append(
                .ok(
                    Self.topic,
                    "\(name) at \(host): a PostgreSQL answers; the login is by the hash of auth_file, and was not tried"
                ))
        } else if isPasswordMissing,
            broker.reading?.pools.contains(where: {
                $0.servers > 0 && "\($0.database)/\($0.user)" == name
            }) == true
        {
            findings.append(
                .ok(
                    Self.topic,
                    "\(name) at \(host): the broker is connected, with the secret that a client has shown"
                ))
        } else if isPasswordMissing {
            findings.append(
                .wrong(
                    Self.topic,
                    "\(name) at \(host): PostgreSQL asks for a password, and none is configured",
                    do: "password= in its line, password_file, a passfile, or a line of auth_file"))
        } else {
            let text = "\(name) at \(host): \(ServerAdvice.text(failure))"
            let remedy = ServerAdvice.remedy(failure)
            findings.append(
                isServed
                    ? .warning(Self.topic, "\(text); another host of its line answers", do: remedy)
                    : .wrong(Self.topic, text, do: remedy))
        }
    }

    // MARK: All pools

    private mutating func judgeBudgets() {
        let configuration = loaded.configuration
        for (_, host, pools) in budgets {
            let isOpen = configuration.databases.contains { $0.forcedUser == nil }
            let budget = ConnectionBudget(
                host: host, pools: pools,
                bound: configuration.settings.maxServerConnections.map {
                    ($0, "max_server_connections")
                },
                perFurtherRole: isOpen
                    ? configuration.settings.defaultPoolSize
                        + configuration.settings.reservePoolSize : nil)
            findings += budget.findings
        }
    }

    private static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}
