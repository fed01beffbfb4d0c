# SPDX-License-Identifier: Apache-2.0
"""Prometheus itself, Debian's exporter on the console as it is, the alerts and the dashboard of config/."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import psycopg2
import pytest

from harness import monitoring
from harness.pooler import REPOSITORY
from harness.postgres import free_port
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

CONFIG = REPOSITORY / "config"
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus") or not shutil.which("prometheus-pgbouncer-exporter"),
    reason="scripts/setup --python installs Prometheus")


class Program:
    """A program that runs beside the broker, with a log."""

    def __init__(self, folder, name, *words):
        self.log_path = folder / f"{name}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [name, *(str(word) for word in words)], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd=folder, start_new_session=True)

    def tail(self):
        return self.log_path.read_text(errors="replace")[-3000:]

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def programs(tmp_path):
    started = []

    def start(name, *words):
        started.append(Program(tmp_path, name, *words))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def fetch(url):
    """The body, or None while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()
    except OSError:
        return None


class Prometheus:
    """A real one, that reads these places every second."""

    def __init__(self, programs, folder, jobs, rules=()):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [place]}]}
                for name, place in jobs.items()],
        }
        path = folder / "prometheus.yml"
        # JSON is YAML.
        path.write_text(json.dumps(config))
        self.program = programs(
            "prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}")

    def ask(self, path, **parameters):
        body = fetch(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(body) if body else {"status": "none"}
        return answer["data"] if answer["status"] == "success" else None

    def query(self, expression):
        """Value by labels; None while it does not answer."""
        data = self.ask("query", query=expression)
        return data and {frozenset(one["metric"].items()): float(one["value"][1])
                         for one in data["result"]}

    def eventually(self, expression, condition=bool, within=90):
        return eventually(lambda: (found := self.query(expression)) is not None
                          and condition(found) and (found or True), within,
                          lambda: f"{expression}: {self.query(expression)}\n{self.program.tail()}",
                          every=0.3)


@needs_prometheus
def test_prometheus_reads_the_broker_and_the_exporter_reads_the_console(
        make_broker, programs, tmp_path):
    address, exporter = monitoring.address(), f"127.0.0.1:{free_port()}"
    broker = make_broker({"metrics_listen": address, "default_pool_size": 1,
                          "query_wait_timeout": "200ms", "lease_warn_after": "10ms"})
    # As Debian starts it: user pgbouncer, which the console takes from its own user.
    # It reads the console once at its start, and ends if it cannot.
    reader = programs(
        "prometheus-pgbouncer-exporter", "--host=127.0.0.1", f"--port={exporter.split(':')[1]}",
        f"--pgbouncer-host={broker.socket_folder}", f"--pgbouncer-port={broker.port}")
    prometheus = Prometheus(programs, tmp_path, {"pglease": address, "exporter": exporter},
                            rules=[CONFIG / "alerts.yml"])
    with psycopg2.connect(broker.dsn(application_name="holder")) as holder:
        holder.cursor().execute("SELECT 1")
        with pytest.raises(psycopg2.Error):
            psycopg2.connect(broker.dsn()).cursor().execute("SELECT 1")
        prometheus.eventually('up == 1', lambda found: len(found) == 2)
        assert reader.process.poll() is None, reader.tail()
        for job, name in (("pglease", "pgbouncer_pools_server_active_connections"),
                          ("pglease", "pglease_pool_leases"),
                          ("exporter", "pgbouncer_active_clients"),
                          ("exporter", "pgbouncer_pool_size")):
            prometheus.eventually(
                f'sum({name}{{job="{job}",database="app"}})', lambda found: list(found.values()) == [1])
        prometheus.eventually('pgbouncer_requests_total{job="exporter",database="app"} > 0')
        prometheus.eventually('pglease_build_info * on (instance) pglease_ready == 1')
        # A histogram that it can compute with.
        prometheus.eventually(
            'histogram_quantile(0.99, sum by (le) (pglease_lease_wait_seconds_bucket)) >= 0')
        # Scraped as OpenMetrics: it knows the units.
        told = prometheus.ask("targets/metadata", metric="pglease_lease_wait_seconds",
                              match_target='{job="pglease"}')
        assert told[0]["type"] == "histogram" and told[0]["unit"] == "seconds"
        assert prometheus.ask("targets")["activeTargets"][0]["lastError"] == ""
        # The rules are loaded, each evaluates, and the one for leaks begins.
        rules = prometheus.ask("rules")["groups"][0]["rules"]
        eventually(lambda: all(rule["health"] == "ok" for rule in
                               prometheus.ask("rules")["groups"][0]["rules"]), 60)
        assert len(rules) == alert_count()
        prometheus.eventually('ALERTS{alertname="PgleaseLeak",alertstate="pending"}')


def alert_count():
    return len(re.findall(r"^ +- alert: ", (CONFIG / "alerts.yml").read_text(), re.MULTILINE))


def promtool(*words):
    done = subprocess.run(["promtool", *(str(word) for word in words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_the_alerts_are_rules():
    said = promtool("check", "rules", CONFIG / "alerts.yml")
    assert f"{alert_count()} rules found" in said


def test_each_alert_says_what_happened_and_what_to_do():
    text = (CONFIG / "alerts.yml").read_text()
    for each in text.split("- alert: ")[1:]:
        assert "summary:" in each and "action:" in each, each
        assert re.search(r"severity: (page|ticket)", each), each


@needs_prometheus
def test_each_alert_fires_when_it_should_and_not_on_a_quiet_day(tmp_path):
    # promtool compares annotations whole; these are read by people.
    (tmp_path / "alerts.yml").write_text(
        re.sub(r"\n +annotations:.*?(?=\n\n|\Z)", "", (CONFIG / "alerts.yml").read_text(),
               flags=re.DOTALL))
    test = tmp_path / "alerts_test.yml"
    test.write_text(with_firing_alerts((Path(__file__).parent / "alerts_test.yml").read_text()))
    promtool("test", "rules", test)


# When each of them fires on the bad day, and for what.
FIRING = {
    "PgleaseDown": ("2m", {"instance": "b"}), "PgleaseNotReady": ("2m", {}),
    "PgleaseServerDown": ("1m", {"database": "app", "user": "app"}),
    "PgleaseExhausted": ("6m", {"cause": "deadline"}),
    "PgleaseWaitersWaitLong": ("2m", {"database": "app", "user": "app"}),
    "PgleaseWaitSlow": ("16m", {"database": "app", "user": "app"}),
    "PgleasePoolFull": ("11m", {"database": "app", "user": "app"}),
    "PgleaseLeak": ("2m", {"database": "app", "user": "app"}), "PgleasePinsFull": ("6m", {}),
    "PgleasePoolLock": ("6m", {}), "PgleasePoolLockSuspected": ("1m", {"grade": "suspected"}),
    "PgleaseRevocations": ("6m", {"limit": "lease_timeout"}),
    "PgleaseConnectFailures": ("6m", {"cause": "unreachable"}),
    "PgleaseServersLost": ("6m", {"cause": "in_lease"}),
    "PgleaseRefusals": ("6m", {"cause": "too_many_clients"}),
    "PgleaseClientsNearLimit": ("6m", {}), "PgleaseDescriptorsNearLimit": ("6m", {}),
    "PgleaseLoopSlow": ("2m", {}),
}


def with_firing_alerts(text):
    """With the alerts of the bad day, whose labels promtool wants in full."""
    written = (CONFIG / "alerts.yml").read_text()
    names = re.findall(r"- alert: (\w+)", written)
    assert set(names) == set(FIRING)
    severities = dict(re.findall(r"- alert: (\w+).*?severity: (\w+)", written, re.DOTALL))
    tests = [{"eval_time": at, "alertname": name, "exp_alerts": [
        {"exp_labels": {"job": "pglease", "instance": "a", "severity": severities[name]} | labels}]}
        for name, (at, labels) in FIRING.items()]
    return text.replace("FIRING", json.dumps(tests))


# The dashboard.

def dashboard():
    return json.loads((CONFIG / "grafana-dashboard.json").read_text())


def expressions():
    board = dashboard()
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


NAME = re.compile(r"\b(?:pglease|pgbouncer|process)_[a-z_]+")


def test_every_metric_of_the_dashboard_and_the_alerts_exists(make_broker):
    address = monitoring.address()
    broker = make_broker({"metrics_listen": address, "max_server_connections": 5})
    with broker.wire():
        metrics = monitoring.Endpoint(address).metrics()
    names = {name for name, _ in metrics.samples}
    labels = {name: {label for each in metrics[name] for label, _ in each} for name in names}
    used = {(title, name) for title, expression in expressions() for name in NAME.findall(expression)}
    used |= {("alerts", name) for rule in alert_expressions() for name in NAME.findall(rule)}
    assert not {(title, name) for title, name in used if name not in names}
    assert len(used) > 60
    # And each label by which something is summed.
    for title, expression in expressions():
        own = set().union(*(labels.get(name, set()) for name in NAME.findall(expression)))
        for by in re.findall(r"by \(([a-z, ]+)\)", expression):
            assert set(by.split(", ")) <= own | {"instance", "job"}, (title, expression)


def alert_expressions():
    text = (CONFIG / "alerts.yml").read_text()
    return re.findall(r"\n +expr: (.*?)(?=\n +(?:for|labels):)", text, re.DOTALL)


@needs_prometheus
def test_every_expression_of_the_dashboard_is_one_that_prometheus_takes(tmp_path):
    rules = {"groups": [{"name": "dashboard", "rules": [
        {"record": f"panel:{index}", "expr": filled(expression)}
        for index, (_, expression) in enumerate(expressions())
        if not expression.startswith("label_values")]}]}
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps(rules))
    promtool("check", "rules", path)


def filled(expression):
    """With Grafana's variables filled in."""
    return re.sub(r"\$(job|instance|database)", ".*", expression.replace("$__rate_interval", "1m"))


def test_panels_do_not_lie_over_each_other():
    board, taken, ids = dashboard(), set(), set()
    assert board["uid"] == "pglease" and board["schemaVersion"] >= 36
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["id"] not in ids and panel["title"]
        ids.add(panel["id"])
