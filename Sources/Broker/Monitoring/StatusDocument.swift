import BrokerConfiguration
import Glibc
import LeaseCore
import StatusHTTP

/// `/stats.json`: the console's tables and a few figures of the whole, in one moment.
extension Broker {
    func statusDocument() -> HTTPResponse {
        var json = JSONText()
        var notListed = (leases: 0, waiters: 0)
        json.object { json in
            addBroker(to: &json)
            json.key("pools")
            addPools(to: &json)
            add("groups", .groups, to: &json) { showGroups(into: &$0) }
            add("leases", .leases, to: &json) {
                notListed.leases = showLeases(into: &$0, limit: Self.rowsListed) - $0.count
            }
            add("waiters", .waiters, to: &json) {
                notListed.waiters = showWaiters(into: &$0, limit: Self.rowsListed) - $0.count
            }
            json.key("not_listed")
            json.object {
                $0.key("leases")
                $0.integer(notListed.leases)
                $0.key("waiters")
                $0.integer(notListed.waiters)
            }
            add("locks", .locks, to: &json) { showLocks(into: &$0) }
            add("events", .events, to: &json) { showEvents(into: &$0) }
            json.key("history")
            monitoring.history.add(to: &json)
        }
        return HTTPResponse(contentType: "application/json", body: json.bytes)
    }

    /// Of leases and of waiters: writing more would hold up the loop. SHOW has all of them.
    static let rowsListed = 1000

    private func addBroker(to json: inout JSONText) {
        let time = Self.wallClock()
        json.key("version")
        json.string(ProductVersion.text)
        json.key("pid")
        json.integer(Int(getpid()))
        json.key("now")
        json.number(time)
        json.key("started")
        json.number(monitoring.startTime)
        json.key("phase")
        json.string(monitoredPhase.rawValue)
        json.key("ready")
        json.boolean(reasonNotReady() == nil)
        json.key("clients")
        json.object {
            $0.key("connected")
            $0.integer(clients.count)
            $0.key("max")
            $0.integer(settings.maxClientConn)
        }
        json.key("servers")
        json.object {
            $0.key("connected")
            $0.integer(servers.count)
            $0.key("max")
            $0.integer(settings.maxServerConnections)
        }
    }

    /// Seconds since 1970.
    static func wallClock() -> Double { clock(CLOCK_REALTIME) }

    // MARK: Tables

    private func add(
        _ name: String, _ command: ShowCommand, to json: inout JSONText,
        _ show: (inout ConsoleRows) -> Void
    ) {
        json.key(name)
        var rows = ConsoleRows(command.columns)
        show(&rows)
        json.array { json in
            rows.eachRow { cells in json.object { $0.add(cells, of: rows.columns) } }
        }
    }

    /// The rows of SHOW POOLS but the console's own, with the sizes.
    private func addPools(to json: inout JSONText) {
        var rows = ConsoleRows(ShowCommand.pools.columns)
        showPools(into: &rows)
        // One row for each of them, then the console's.
        let listed = poolsInOrder.compactMap { pool in
            engine.scheduler.summary(of: pool.id).map { (pool: pool, summary: $0) }
        }
        json.array { json in
            var index = 0
            rows.eachRow { cells in
                guard index < listed.count else { return }
                let (pool, summary) = listed[index]
                index += 1
                json.object {
                    $0.add(cells, of: rows.columns)
                    $0.key("pool_size")
                    $0.integer(summary.size < Int(Int32.max) ? summary.size : nil)
                    $0.key("reserve_pool_size")
                    $0.integer(summary.reserveSize)
                    $0.key("sv_total")
                    $0.integer(summary.counts.total)
                    $0.key("paused")
                    $0.boolean(stops.isPaused(pool.database))
                    $0.key("disabled")
                    $0.boolean(stops.disabledDatabases.contains(pool.database))
                }
            }
        }
    }
}

extension JSONText {
    fileprivate mutating func add(_ cells: ConsoleRows.Cells, of columns: [ConsoleColumn]) {
        for (column, cell) in zip(columns, cells) {
            key(column.name)
            guard let cell else {
                null()
                continue
            }
            switch column.kind {
            case .int8, .int4: written(cell)
            case .text: string(bytes: cell)
            case .bool: boolean(cell == [0x74])
            }
        }
    }
}
