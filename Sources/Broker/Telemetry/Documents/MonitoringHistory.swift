// SPDX-License-Identifier: Apache-2.0

import StatusHTTP

/// How busy the pools were in the last ten minutes: a ring of samples, for the plots of the status page.
///
/// A sample is written as JSON once, when it is taken: with hundreds of pools, writing all of them for
/// each request would hold up the loop.
struct MonitoringHistory {
    struct Pool {
        /// `database/user`.
        var name: String
        var leased: Int
        var waiting: Int
        /// Server connections in whatever state.
        var total: Int
        var size: Int
    }

    struct Sample {
        /// Seconds since 1970.
        var time: Double
        var pools: [Pool]
    }

    static let period = Duration.seconds(5)
    static let samplesKept = 120
    static let poolsKept = 64

    /// Each a whole object.
    private var samples: [[UInt8]] = []
    /// The oldest, once the ring is full.
    private var start = 0

    mutating func add(_ sample: Sample) {
        let text = Self.text(of: sample)
        if samples.count < Self.samplesKept {
            samples.append(text)
        } else {
            samples[start] = text
            start = (start + 1) % samples.count
        }
    }

    /// Oldest first.
    func add(to json: inout JSONText) {
        json.object { json in
            json.key("period")
            json.integer(Int(Self.period.components.seconds))
            json.key("samples")
            json.array { json in
                for index in samples.indices {
                    json.written(samples[(start + index) % samples.count][...])
                }
            }
        }
    }

    private static func text(of sample: Sample) -> [UInt8] {
        var json = JSONText()
        json.object {
            $0.key("time")
            $0.number(sample.time)
            $0.key("pools")
            $0.object { json in
                for pool in sample.pools { add(pool, to: &json) }
            }
        }
        return json.bytes
    }

    private static func add(_ pool: Pool, to json: inout JSONText) {
        json.key(pool.name)
        json.object {
            $0.key("leased")
            $0.integer(pool.leased)
            $0.key("waiting")
            $0.integer(pool.waiting)
            $0.key("total")
            $0.integer(pool.total)
            $0.key("size")
            $0.integer(pool.size < Int(Int32.max) ? pool.size : nil)
        }
    }
}
