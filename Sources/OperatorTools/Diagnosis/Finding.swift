// SPDX-License-Identifier: Apache-2.0

/// How serious a finding is; the raw value is the word in the report.
package enum Verdict: String, CaseIterable, Comparable, Sendable {
    case ok, warning, wrong

    /// The exit status of `pglease doctor` when this is the most serious one.
    package var status: Int32 {
        switch self {
        case .ok: 0
        case .warning: 1
        case .wrong: 2
        }
    }

    package static func < (one: Verdict, other: Verdict) -> Bool { one.status < other.status }
}

/// One thing that `pglease doctor` looked at: what it saw, and what to do about it.
///
/// Invariant: both texts are one line each; only `ok` has nothing to do.
package struct Finding: Equatable, Sendable {
    package let verdict: Verdict
    /// What was looked at, in one word.
    package let topic: String
    package let what: String
    package let remedy: String?

    private init(_ verdict: Verdict, _ topic: String, _ what: String, _ remedy: String?) {
        self.verdict = verdict
        self.topic = topic
        self.what = DisplayText.clean(what)
        self.remedy = remedy.map { DisplayText.clean($0) }
    }

    package static func ok(_ topic: String, _ what: String) -> Finding {
        Finding(.ok, topic, what, nil)
    }

    package static func warning(_ topic: String, _ what: String, do remedy: String) -> Finding {
        Finding(.warning, topic, what, remedy)
    }

    package static func wrong(_ topic: String, _ what: String, do remedy: String) -> Finding {
        Finding(.wrong, topic, what, remedy)
    }

    package var json: JSONValue {
        .object([
            .init("verdict", .text(verdict.rawValue)), .init("topic", .text(topic)),
            .init("what", .text(what)), .init("do", remedy.map { .text($0) } ?? .null),
        ])
    }
}
