// SPDX-License-Identifier: Apache-2.0

import StatusHTTP
import Testing

/// The two formats, letter by letter.
@Suite struct MetricsTextTests {
    private func text(_ format: MetricsText.Format, _ body: (inout MetricsText) -> Void) -> String {
        var text = MetricsText(format)
        body(&text)
        text.finish()
        return String(decoding: text.bytes, as: UTF8.self)
    }

    private func everything(_ text: inout MetricsText) {
        text.begin("a_ready", .gauge, "Whether.")
        text.sample(.none, 1)
        text.begin("a_requests", .counter, "How many.")
        text.sample(MetricLabels(["cause": "x"]), 3)
        text.begin("a_build", .info, "Which.")
        text.sample(MetricLabels(["version": "1"]), 1)
        text.begin("a_wait_seconds", .histogram, "How long.")
        text.histogram(
            MetricLabels(["pool": "p"]), bounds: ["0.5", "1.5"], cumulative: [1, 2], count: 3,
            sum: 4.25)
        text.begin("a_size_bytes", .gauge, "How much.")
        text.sample(MetricLabels(["pool": "p"]).adding("state", "s"), 0.25)
    }

    @Test func openMetrics() {
        #expect(
            text(.openMetrics, everything) == """
                # TYPE a_ready gauge
                # HELP a_ready Whether.
                a_ready 1
                # TYPE a_requests counter
                # HELP a_requests How many.
                a_requests_total{cause="x"} 3
                # TYPE a_build info
                # HELP a_build Which.
                a_build_info{version="1"} 1
                # TYPE a_wait_seconds histogram
                # UNIT a_wait_seconds seconds
                # HELP a_wait_seconds How long.
                a_wait_seconds_bucket{pool="p",le="0.5"} 1
                a_wait_seconds_bucket{pool="p",le="1.5"} 2
                a_wait_seconds_bucket{pool="p",le="+Inf"} 3
                a_wait_seconds_sum{pool="p"} 4.25
                a_wait_seconds_count{pool="p"} 3
                # TYPE a_size_bytes gauge
                # UNIT a_size_bytes bytes
                # HELP a_size_bytes How much.
                a_size_bytes{pool="p",state="s"} 0.25
                # EOF

                """)
    }

    @Test func theOlderFormat() {
        let written = text(.prometheus, everything)
        #expect(written.contains("# TYPE a_requests_total counter\n# HELP a_requests_total "))
        #expect(written.contains("# TYPE a_build_info gauge\n"))
        #expect(!written.contains("UNIT") && !written.contains("EOF"))
        #expect(written.hasSuffix("a_size_bytes{pool=\"p\",state=\"s\"} 0.25\n"))
    }

    @Test func labelsAreEscaped() {
        let labels = MetricLabels(["a": "q\"u\\o\nte", "b": ""])
        let written = text(.prometheus) {
            $0.begin("x", .gauge, "X.")
            $0.sample(labels, 1)
        }
        #expect(written.hasSuffix("x{a=\"q\\\"u\\\\o\\nte\",b=\"\"} 1\n"))
    }

    @Test(
        arguments: [
            (nil, MetricsText.Format.prometheus), ("*/*", .prometheus), ("text/plain", .prometheus),
            ("application/openmetrics-text; version=1.0.0", .openMetrics),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                    + "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", .openMetrics
            ),
        ] as [(String?, MetricsText.Format)])
    func whatIsAccepted(_ header: String?, _ format: MetricsText.Format) {
        #expect(MetricsText.Format(accept: header) == format)
    }
}
