// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import Glibc
import LeaseCore
import StatusHTTP

extension Broker {
    func statusResponse() -> HTTPResponse {
        let document = StatusDocument(
            snapshot: snapshot(of: StatusDocument.parts, listing: StatusDocument.rowsListed),
            state: monitoredState, history: monitoring.history)
        return HTTPResponse(contentType: "application/json", body: document.json)
    }
}

/// `/stats.json`: the console's tables and a few figures of the whole, in one moment.
struct StatusDocument {
    static let parts: BrokerSnapshot.Parts = [
        .pools, .groups, .shares, .leases, .waiters, .locks, .events, .counts,
    ]
    /// Of leases and of waiters: writing more would hold up the loop. SHOW has all of them.
    static let rowsListed = 1000

    let snapshot: BrokerSnapshot
    let state: MonitoredState
    let history: MonitoringHistory

    var json: [UInt8] {
        var json = JSONText()
        json.object { json in
            addBroker(to: &json)
            json.key("pools")
            addPools(to: &json)
            add("groups", .groups, to: &json)
            add("shares", .shares, to: &json)
            add("leases", .leases, to: &json)
            add("waiters", .waiters, to: &json)
            json.key("not_listed")
            json.object {
                $0.key("leases")
                $0.integer(snapshot.leases.notListed)
                $0.key("waiters")
                $0.integer(snapshot.waiters.notListed)
            }
            add("locks", .locks, to: &json)
            add("events", .events, to: &json)
            json.key("history")
            history.add(to: &json)
        }
        return json.bytes
    }

    private func addBroker(to json: inout JSONText) {
        let whole = snapshot.whole
        json.key("version")
        json.string(whole.version)
        json.key("pid")
        json.integer(Int(getpid()))
        json.key("now")
        json.number(SystemClock.wall)
        json.key("started")
        json.number(state.startTime)
        json.key("phase")
        json.string(state.phase.rawValue)
        json.key("ready")
        json.boolean(state.isReady)
        json.key("clients")
        json.object {
            $0.key("connected")
            $0.integer(whole.clients)
            $0.key("max")
            $0.integer(whole.maxClients)
        }
        json.key("servers")
        json.object {
            $0.key("connected")
            $0.integer(whole.servers)
            $0.key("max")
            $0.integer(whole.maxServers)
        }
    }

    // MARK: Tables

    private func add(_ name: String, _ command: ShowCommand, to json: inout JSONText) {
        let rows = snapshot.rows(of: command)
        json.key(name)
        json.array { json in
            rows.eachRow { cells in json.object { $0.add(cells, of: rows.columns) } }
        }
    }

    /// The rows of SHOW POOLS but the console's own, with the sizes.
    private func addPools(to json: inout JSONText) {
        let rows = snapshot.rows(of: .pools)
        json.array { json in
            var index = 0
            rows.eachRow { cells in
                // One row for each of them, then the console's.
                guard index < snapshot.pools.count else { return }
                let pool = snapshot.pools[index]
                index += 1
                json.object {
                    $0.add(cells, of: rows.columns)
                    $0.key("pool_size")
                    $0.integer(pool.size)
                    $0.key("reserve_pool_size")
                    $0.integer(pool.summary.reserveSize)
                    $0.key("sv_total")
                    $0.integer(pool.summary.counts.total)
                    $0.key("paused")
                    $0.boolean(pool.isPaused)
                    $0.key("disabled")
                    $0.boolean(pool.isDisabled)
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
