// SPDX-License-Identifier: Apache-2.0

/// Metrics as Prometheus reads them: OpenMetrics 1.0, or the older text format 0.0.4.
///
/// Knows the formats' rules for names, escapes and numbers; what is measured is its caller's. Invariant: a
/// sample belongs to the family that was begun last, and a family is begun once.
package struct MetricsText {
    package enum Format: Sendable, CaseIterable {
        case openMetrics, prometheus

        /// What a client takes by its Accept header.
        package init(accept: String?) {
            self =
                accept?.contains("application/openmetrics-text") == true
                ? .openMetrics : .prometheus
        }

        package var contentType: String {
            switch self {
            case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
            }
        }
    }

    package enum Kind: String, Sendable {
        case counter, gauge, histogram, info

        /// What the samples of a family are called behind its name.
        fileprivate var suffix: String {
            switch self {
            case .counter: "_total"
            case .info: "_info"
            case .gauge, .histogram: ""
            }
        }
    }

    package let format: Format
    package private(set) var bytes: [UInt8] = []
    private var family: [UInt8] = []
    private var sampleName: [UInt8] = []

    /// With room for so many bytes from the start.
    package init(_ format: Format, capacity: Int = 0) {
        self.format = format
        bytes.reserveCapacity(capacity)
    }

    /// Begins a family. The name has no `_total` and no `_info`: they are added where they belong.
    package mutating func begin(_ name: String, _ kind: Kind, _ help: String) {
        family = Array(name.utf8)
        sampleName = family + Array(kind.suffix.utf8)
        let isOpen = format == .openMetrics
        // The older format knows no infos, and calls the family as its samples.
        let shown = isOpen ? name : name + kind.suffix
        let type = !isOpen && kind == .info ? Kind.gauge : kind
        append("# TYPE \(shown) \(type.rawValue)\n")
        if isOpen, let unit = Self.units.first(where: { name.hasSuffix("_" + $0) }) {
            append("# UNIT \(shown) \(unit)\n")
        }
        append("# HELP \(shown) \(help)\n")
    }

    private static let units = ["seconds", "bytes", "ratio"]

    package mutating func sample(_ labels: MetricLabels = .none, _ value: Int) {
        open(sampleName, labels)
        append("\(value)\n")
    }

    package mutating func sample(_ labels: MetricLabels = .none, _ value: Double) {
        open(sampleName, labels)
        append("\(value)\n")
    }

    /// `cumulative` has a count for each bound, `bounds` the bounds as they are written.
    package mutating func histogram(
        _ labels: MetricLabels, bounds: [String], cumulative: [UInt64], count: UInt64, sum: Double
    ) {
        for (bound, below) in zip(bounds, cumulative) {
            open(family, suffix: "_bucket", labels, bound: bound)
            append("\(below)\n")
        }
        open(family, suffix: "_bucket", labels, bound: "+Inf")
        append("\(count)\n")
        open(family, suffix: "_sum", labels)
        append("\(sum)\n")
        open(family, suffix: "_count", labels)
        append("\(count)\n")
    }

    /// Nothing may follow.
    package mutating func finish() {
        if format == .openMetrics { append("# EOF\n") }
    }

    // MARK: Bytes

    private mutating func open(
        _ name: [UInt8], suffix: StaticString = "", _ labels: MetricLabels, bound: String? = nil
    ) {
        bytes.append(contentsOf: name)
        if suffix.utf8CodeUnitCount > 0 { append("\(suffix)") }
        if !labels.bytes.isEmpty || bound != nil {
            bytes.append(0x7B)
            bytes.append(contentsOf: labels.bytes)
            if let bound {
                if !labels.bytes.isEmpty { bytes.append(0x2C) }
                append("le=\"")
                append(bound)
                bytes.append(0x22)
            }
            bytes.append(0x7D)
        }
        bytes.append(0x20)
    }

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }
}

/// The labels of a series, as they are written: made once for all its samples.
package struct MetricLabels: Sendable, Equatable {
    package static let none = MetricLabels()

    fileprivate var bytes: [UInt8] = []

    package init(_ pairs: KeyValuePairs<String, String> = [:]) {
        for (name, value) in pairs { add(name, value) }
    }

    package mutating func add(_ name: String, _ value: String) {
        if !bytes.isEmpty { bytes.append(0x2C) }
        bytes.append(contentsOf: name.utf8)
        bytes.append(contentsOf: [0x3D, 0x22])
        for byte in value.utf8 {
            switch byte {
            case 0x22: bytes.append(contentsOf: [0x5C, 0x22])
            case 0x5C: bytes.append(contentsOf: [0x5C, 0x5C])
            case 0x0A: bytes.append(contentsOf: [0x5C, 0x6E])
            default: bytes.append(byte)
            }
        }
        bytes.append(0x22)
    }

    package func adding(_ name: String, _ value: String) -> MetricLabels {
        var more = self
        more.add(name, value)
        return more
    }
}
