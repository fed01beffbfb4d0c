// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConsole

/// pgbouncer 1.25's columns: exporters and dashboards find them by name or by place. Old names that
/// exporters still ask for come last.
@Suite struct ConsoleColumnsTests {
    private static let sockets =
        "type, user, database, replication, state, addr, port, local_addr, local_port, "
        + "connect_time, request_time, wait, wait_us, close_needed, ptr, link, remote_pid, tls, "
        + "application_name, prepared_statements, id"
    private static let moreOfSockets =
        ", recv_pos, pkt_pos, pkt_remain, send_pos, send_remain, pkt_avail, send_avail"

    @Test(arguments: [
        (ShowCommand.clients, sockets), (.servers, sockets),
        (.sockets, sockets + moreOfSockets), (.activeSockets, sockets + moreOfSockets),
        (
            .pools,
            "database, user, cl_active, cl_waiting, cl_active_cancel_req, cl_waiting_cancel_req, "
                + "sv_active, sv_active_cancel, sv_being_canceled, sv_idle, sv_used, sv_tested, "
                + "sv_login, maxwait, maxwait_us, pool_mode, load_balance_hosts, pinned, parked"
        ),
        (
            .databases,
            "name, host, port, database, force_user, pool_size, min_pool_size, reserve_pool_size, "
                + "server_lifetime, pool_mode, load_balance_hosts, max_connections, "
                + "current_connections, max_client_connections, current_client_connections, paused, "
                + "disabled, reserve_pool"
        ),
        (
            .stats,
            "database, total_server_assignment_count, total_xact_count, total_query_count, "
                + "total_received, total_sent, total_xact_time, total_query_time, total_wait_time, "
                + "total_client_parse_count, total_server_parse_count, total_bind_count, total_client_login_count, "
                + "avg_server_assignment_count, avg_xact_count, avg_query_count, avg_recv, avg_sent, "
                + "avg_xact_time, avg_query_time, avg_wait_time, avg_client_parse_count, "
                + "avg_server_parse_count, avg_bind_count, avg_client_login_count, total_requests"
        ),
        (
            .statsTotals,
            "database, server_assignment_count, xact_count, query_count, bytes_received, bytes_sent, "
                + "xact_time, query_time, wait_time, client_parse_count, server_parse_count, bind_count, client_login_count"
        ),
        (
            .statsAverages,
            "database, server_assignment_count, xact_count, query_count, bytes_received, bytes_sent, "
                + "xact_time, query_time, wait_time, avg_client_parse_count, avg_server_parse_count, "
                + "avg_bind_count, avg_client_login_count"
        ),
        (
            .users,
            "name, pool_size, reserve_pool_size, pool_mode, max_user_connections, "
                + "current_connections, max_user_client_connections, current_client_connections"
        ),
        (.config, "key, value, default, changeable"), (.state, "key, value"), (.version, "version"),
        (.lists, "list, items"), (.totals, "name, value"),
        (.mem, "name, size, used, free, memtotal"),
        (.dnsHosts, "hostname, ttl, addrs"), (.dnsZones, "zonename, serial, count"),
        (.peers, "peer_id, host, port, pool_size"),
        (
            .peerPools,
            "peer_id, cl_active_cancel_req, cl_waiting_cancel_req, sv_active_cancel, sv_login"
        ),
        (
            .fds,
            "fd, task, user, database, addr, port, cancel, link, client_encoding, std_strings, "
                + "datestyle, timezone, password, scram_client_key, scram_server_key"
        ),
    ])
    func columns(_ command: ShowCommand, _ names: String) {
        #expect(command.columns.map(\.name).joined(separator: ", ") == names)
    }

    /// Our own: status pages, exporters and `pglease top` find them by name.
    @Test(arguments: [
        (
            ShowCommand.leases,
            "lease_id, server_pid, kind, database, user, group, application_name, client_id, "
                + "client_pid, purpose, state, transaction_state, age_us, waited_us, idle_us, bytes, "
                + "warned, client_uid, program, arguments, thread, addr, transactions, pin"
        ),
        (
            .waiters,
            "place, client_id, client_pid, database, user, group, application_name, purpose, "
                + "waited_us, deadline_us, client_uid, program, arguments, thread, addr"
        ),
        (
            .groups,
            "group, weight, min_leases, max_leases, clients, leases, waiting, maxwait_us, "
                + "max_pins, pinned, parked"
        ),
        (
            .locks,
            "lock_id, database, user, group, grade, age_us, lent, rejected, reserve, link, lease_id, "
                + "server_pid, client_id, client_pid, thread, application_name, purpose, held_us, "
                + "waits_as, waits_for, waited_us"
        ),
        (
            .events,
            "event_id, time, age_us, kind, level, database, user, group, application_name, "
                + "client_id, client_pid, lease_id, count, message"
        ),
    ])
    func ownColumns(_ command: ShowCommand, _ names: String) {
        #expect(command.columns.map(\.name).joined(separator: ", ") == names)
    }

    @Test func numbersAreInt8() {
        let columns = ShowCommand.pools.columns
        let texts = ["database", "user", "pool_mode", "load_balance_hosts"]
        for column in columns {
            #expect(column.kind == (texts.contains(column.name) ? .text : .int8), "\(column.name)")
        }
    }
}
