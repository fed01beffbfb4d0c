// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("Durations as people write them")
struct DurationTextTests {
    @Test(
        "What is read",
        arguments: [
            ("0", .zero), ("2", .seconds(2)), ("2s", .seconds(2)), ("2 S", .seconds(2)),
            ("500ms", .milliseconds(500)), ("7us", .microseconds(7)), ("1min", .seconds(60)),
            ("1MIN", .seconds(60)), ("2h", .seconds(7200)), ("1d", .seconds(86400)),
            ("1.5min", .seconds(90)), (".5", .milliseconds(500)), ("5.", .seconds(5)),
            ("0.000000001", .nanoseconds(1)), ("0.0000000019", .nanoseconds(1)),
            ("1 \t s \n", .seconds(1)), ("007", .seconds(7)), ("2147483647", DurationText.maximum),
            ("0.5us", .nanoseconds(500)), ("0.00000000000000000000000000000000001", .zero),
        ] as [(String, Duration)])
    func reads(text: String, expected: Duration) {
        #expect(DurationText.read(text) == .duration(expected))
    }

    @Test(
        "What is none",
        arguments: [
            "", " ", "s", ".", " 2", "-1", "+1", "1.2.3", "1e3", "2 minutes", "2 m", "2s3", "1,5",
            "0x1",
            "１", "2\u{a0}s", "inf", "2 s s",
        ])
    func malformed(text: String) {
        #expect(DurationText.read(text) == .malformed)
    }

    @Test(
        "What is longer than any",
        arguments: [
            "2147483648", "2147483647.000000001", "24856d", "9223372036", "9223372037",
            "99999999999999999999", "99999999999999999999999999d",
        ])
    func tooLong(text: String) {
        #expect(DurationText.read(text) == .tooLong)
    }

    @Test("A number alone has the unit that is asked for", arguments: DurationText.Unit.allCases)
    func bareUnits(unit: DurationText.Unit) {
        #expect(DurationText.read("3", bareUnit: unit) == DurationText.read("3\(unit.rawValue)"))
        #expect(DurationText.read("3s", bareUnit: unit) == .duration(.seconds(3)))
    }

    @Test("What is written reads the same", arguments: DurationText.Unit.allCases)
    func roundTrips(unit: DurationText.Unit) {
        // A third of a minute has no end of decimals: it is cut.
        let isExact = [.microsecond, .millisecond, .second].contains(unit)
        for nanoseconds in [0, 1_000, 1_500_000, 2_000_000_000, 61_000_000_000, 86_400_000_000_000]
        {
            let value = Duration.nanoseconds(nanoseconds)
            let text = DurationText.render(value, in: unit)
            guard case .duration(let read) = DurationText.read(text, bareUnit: unit) else {
                Issue.record("\(text) in \(unit) cannot be read")
                continue
            }
            #expect(read <= value && value - read <= (isExact ? .zero : .microseconds(1)))
        }
        #expect(DurationText.render(.seconds(90), in: .minute) == "1.5")
        #expect(DurationText.render(.seconds(129_600), in: .day) == "1.5")
    }
}
