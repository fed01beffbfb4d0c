// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import StatusHTTP
import Testing

@testable import Broker

/// The ring of samples behind the plots.
@Suite struct MonitoringHistoryTests {
    private func sample(_ number: Int) -> MonitoringHistory.Sample {
        MonitoringHistory.Sample(
            time: Double(number),
            pools: [.init(name: "a/b", leased: number, waiting: 0, total: number, size: .max)])
    }

    private func text(of history: MonitoringHistory) -> String {
        var json = JSONText()
        history.add(to: &json)
        return String(decoding: json.bytes, as: UTF8.self)
    }

    private func text(of numbers: [Int]) -> String {
        let samples = numbers.map {
            #"{"time":\#($0).0,"pools":{"a/b":{"leased":\#($0),"waiting":0,"total":\#($0),"size":null}}}"#
        }
        return #"{"period":5,"samples":[\#(samples.joined(separator: ","))]}"#
    }

    @Test func theOldestMakesRoom() {
        var history = MonitoringHistory()
        #expect(text(of: history) == text(of: []))
        for number in 0..<300 {
            history.add(sample(number))
            let first = max(0, number - MonitoringHistory.samplesKept + 1)
            #expect(text(of: history) == text(of: Array(first...number)))
        }
    }
}

/// Columns of the console as metrics.
@Suite struct ConsoleMetricsTests {
    /// Beyond 64 rows the rest is one, summed or the largest, and a row that is called so is part of it.
    @Test func metricsOfManyRows() {
        let metrics = ConsoleMetrics(
            labels: [("database", "database")],
            families: [
                .init(column: "count", name: "x_count", kind: .gauge, help: "Sum."),
                .init(
                    column: "age", name: "x_age", kind: .gauge, takesMaximum: true, help: "Largest."
                ),
            ])
        var rows = ConsoleRows(.texts("database") + .integers("count", "age"))
        for index in 0..<69 {
            rows.add {
                $0.text(index == 3 ? "other" : "d\(index)")
                $0.integer(index)
                $0.integer(index)
            }
        }
        var text = MetricsText(.prometheus)
        metrics.write(rows, to: &text)
        let lines = String(decoding: text.bytes, as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 2 * (2 + 65))
        // 3, 65 … 68: the first 64 others have their own.
        #expect(lines.contains(#"x_count{database="other"} 269"#))
        #expect(lines.contains(#"x_age{database="other"} 68"#))
        #expect(lines.contains(#"x_count{database="d64"} 64"#))
    }
}
