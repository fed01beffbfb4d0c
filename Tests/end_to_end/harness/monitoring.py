# SPDX-License-Identifier: Apache-2.0
"""The broker's HTTP: a plain client of it, and its metrics read by Prometheus's own parsers."""

import http.client
import json
import socket

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as plain

from .postgres import free_port

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    """What came back: status, headers (names in lower case), body."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()


class Endpoint:
    """Where a broker serves `metrics_listen`: "host:port" or a path."""

    def __init__(self, address, timeout=30.0):
        self.address, self.timeout = address, timeout

    @property
    def is_unix(self):
        return self.address.startswith("/")

    def connection(self):
        if self.is_unix:
            return UnixConnection(self.address, self.timeout)
        host, _, port = self.address.rpartition(":")
        return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=self.timeout)

    def raw(self):
        """A socket on which nothing was said."""
        one = self.connection()
        one.connect()
        return one.sock

    def get(self, path, method="GET", headers=None, body=None):
        one = self.connection()
        try:
            one.request(method, path, body=body, headers=headers or {})
            return Answer(one.getresponse())
        finally:
            one.close()

    def stats(self):
        answer = self.get("/stats.json")
        assert answer.status == 200 and answer.headers["content-type"] == "application/json"
        return json.loads(answer.body)

    def metrics(self):
        """The samples of /metrics, as OpenMetrics."""
        answer = self.get("/metrics", headers={"Accept": OPENMETRICS})
        assert answer.status == 200 and answer.headers["content-type"].startswith(OPENMETRICS)
        return Metrics(openmetrics.text_string_to_metric_families(answer.text))

    def plain_metrics(self):
        """The samples of /metrics in the older format."""
        answer = self.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return Metrics(plain.text_string_to_metric_families(answer.text))


class Metrics:
    """Samples by name and labels."""

    def __init__(self, families):
        self.families, self.samples = {}, {}
        for family in families:
            assert family.name not in self.families, f"{family.name} comes twice"
            assert family.documentation, f"{family.name} is not explained"
            self.families[family.name] = family.type
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"{key} comes twice"
                self.samples[key] = sample.value

    def get(self, name, /, **labels):
        """One sample; None where there is none."""
        return self.samples.get((name, frozenset(labels.items())))

    def __getitem__(self, name):
        """All samples of a name, by their labels."""
        return {labels: value for (each, labels), value in self.samples.items() if each == name}

    def histogram(self, name, /, **labels):
        """(bound, count) of each bucket in order, count and sum."""
        own = set(labels.items())
        buckets = []
        for each, value in self[name + "_bucket"].items():
            bound = dict(each)["le"]
            if set(each) == own | {("le", bound)}:
                buckets.append((float(bound), value))
        return sorted(buckets), self.get(name + "_count", **labels), self.get(name + "_sum", **labels)


def address():
    """A free place on this machine."""
    return f"127.0.0.1:{free_port()}"
