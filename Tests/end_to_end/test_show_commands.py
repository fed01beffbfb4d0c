# SPDX-License-Identifier: Apache-2.0
"""The SHOW commands that other files leave out: pgbouncer 1.25's columns and rows, by both protocols."""

import pytest

from harness import wire
from harness.waiting import eventually
from test_console import CLIENT_COLUMNS, columns, shown  # noqa: F401 - a fixture

pytestmark = pytest.mark.pglease_only

SOCKETS = CLIENT_COLUMNS + (
    ", recv_pos, pkt_pos, pkt_remain, send_pos, send_remain, pkt_avail, send_avail")
COUNTS = ("server_assignment_count, xact_count, query_count, bytes_received, bytes_sent, "
          "xact_time, query_time, wait_time")
COLUMNS = {
    "SOCKETS": SOCKETS,
    "ACTIVE_SOCKETS": SOCKETS,
    "STATS_TOTALS": f"database, {COUNTS}, client_parse_count, server_parse_count, bind_count, "
                    "client_login_count",
    "STATS_AVERAGES":
        f"database, {COUNTS}, avg_client_parse_count, avg_server_parse_count, avg_bind_count, "
        "avg_client_login_count",
    "TOTALS": "name, value",
    "LISTS": "list, items",
    "USERS": ("name, pool_size, reserve_pool_size, pool_mode, max_user_connections, "
              "current_connections, max_user_client_connections, current_client_connections"),
    "MEM": "name, size, used, free, memtotal",
    "FDS": ("fd, task, user, database, addr, port, cancel, link, client_encoding, std_strings, "
            "datestyle, timezone, password, scram_client_key, scram_server_key"),
    "DNS_HOSTS": "hostname, ttl, addrs",
    "DNS_ZONES": "zonename, serial, count",
    "PEERS": "peer_id, host, port, pool_size",
    "PEER_POOLS":
        "peer_id, cl_active_cancel_req, cl_waiting_cancel_req, sv_active_cancel, sv_login",
}
LISTS = ["databases", "users", "peers", "pools", "peer_pools", "free_clients", "used_clients",
         "login_clients", "free_servers", "used_servers", "dns_names", "dns_zones", "dns_queries",
         "dns_pending"]
TOTALS = ["server_assignment_count", "xact_count", "query_count", "client_bytes", "server_bytes",
          "xact_time", "query_time", "wait_time", "ps_client_parse_count",
          "ps_server_parse_count", "ps_bind_count", "client_login_count"]
OURS = ("LEASES", "WAITERS", "GROUPS", "LOCKS", "EVENTS")


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("command", COLUMNS)
def test_columns(shown, command, extended):  # noqa: F811
    assert columns(shown, f"SHOW {command}", "pgbouncer", extended=extended) == \
        COLUMNS[command].split(", ")


@pytest.mark.parametrize("command", OURS)
def test_ours_by_both_protocols(shown, command):  # noqa: F811
    simple = columns(shown, f"SHOW {command}", "pglease")
    assert simple == columns(shown, f"SHOW {command}", "pglease", extended=True)
    with shown.wire("admin", "pglease") as one:
        assert command in str(one.query("SHOW HELP")) + str([n.fields for n in one.notices])


def test_lists_and_totals_have_pgbouncers_rows(shown):  # noqa: F811
    assert [row["list"] for row in shown.console("SHOW LISTS")] == LISTS
    assert [row["name"] for row in shown.console("SHOW TOTALS")] == \
        [f"{prefix}_{name}" for prefix in ("total", "avg") for name in TOTALS]


def test_sockets_and_descriptors_are_those_that_are_open(shown):  # noqa: F811
    rows = shown.console("SHOW SOCKETS")
    assert {row["application_name"] for row in rows if row["type"] == "C"} >= \
        {"the-holder", "the-waiter"}
    tasks = [row["task"] for row in shown.console("SHOW FDS")]
    assert tasks.count("server") == 1 and tasks.count("client") >= 3
    # The waiter's request lies here.
    active = shown.console("SHOW ACTIVE_SOCKETS")
    assert [row["application_name"] for row in active] == ["the-waiter"]


def test_users_count_their_connections(shown):  # noqa: F811
    users = {row["name"]: row for row in shown.console("SHOW USERS")}
    assert users["app"]["current_connections"] == "1"
    assert users["app"]["current_client_connections"] == "2"


def test_descriptors_are_for_administrators(shown):  # noqa: F811
    with shown.wire("watcher", "pglease") as one:
        assert wire.error_of(one.query("SHOW FDS")).code == "08P01"
        for command in (*OURS, *COLUMNS):
            if command != "FDS":
                assert "E" not in wire.kinds(one.query(f"SHOW {command}")), command


def test_statistics_of_totals_and_averages_agree_with_stats(make_broker):
    broker = make_broker({"stats_period": 1})
    with broker.wire() as one:
        for _ in range(5):
            one.query("SELECT 1")
    row = lambda what: next(  # noqa: E731
        row for row in broker.console(f"SHOW {what}") if row["database"] == "app")
    stats, totals = row("STATS"), row("STATS_TOTALS")
    for name in ("xact_count", "query_count", "xact_time", "query_time", "wait_time"):
        assert totals[name] == stats[f"total_{name}"]
    assert (totals["bytes_received"], totals["bytes_sent"]) == \
        (stats["total_received"], stats["total_sent"])
    sums = {row["name"]: row["value"] for row in broker.console("SHOW TOTALS")}
    assert int(sums["total_query_count"]) >= int(totals["query_count"]) == 5
    # What is quiet has averages of nothing once two periods have passed.
    eventually(lambda: row("STATS_AVERAGES")["query_count"] == "0")
