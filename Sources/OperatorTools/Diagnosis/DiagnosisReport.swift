// SPDX-License-Identifier: Apache-2.0

/// All findings of one look, as a person and as a program read them.
package struct DiagnosisReport: Equatable, Sendable {
    package let findings: [Finding]

    package init(_ findings: [Finding]) { self.findings = findings }

    /// The most serious verdict.
    package var verdict: Verdict { findings.map(\.verdict).max() ?? .ok }

    /// Each finding in the order of the look, with what to do below it; then the counts.
    package var lines: [Line] {
        let topics = findings.reduce(0) { max($0, $1.topic.count) }
        var lines: [Line] = []
        for finding in findings {
            let verdict = Self.padded(finding.verdict.rawValue, to: Self.verdictWidth)
            let topic = Self.padded(finding.topic, to: topics)
            lines.append(Line("\(verdict)  \(topic)  \(finding.what)", Self.style(finding.verdict)))
            if let remedy = finding.remedy {
                let margin = String(repeating: " ", count: Self.verdictWidth + topics + 4)
                lines.append(Line("\(margin)-> \(remedy)"))
            }
        }
        let counts = Verdict.allCases.reversed().map { verdict in
            "\(findings.count { $0.verdict == verdict }) \(verdict.rawValue)"
        }
        lines.append(Line(counts.joined(separator: ", "), .strong))
        return lines
    }

    package var json: JSONValue {
        .object([
            .init("verdict", .text(verdict.rawValue)),
            .init("findings", .array(findings.map(\.json))),
        ])
    }

    private static let verdictWidth = Verdict.allCases.map(\.rawValue.count).max() ?? 0

    private static func padded(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    private static func style(_ verdict: Verdict) -> Style {
        switch verdict {
        case .ok: .plain
        case .warning: .warning
        case .wrong: .alarm
        }
    }
}
