// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

@testable import Broker

/// The histograms' bounds in Prometheus' words.
@Suite struct HistogramBoundTests {
    @Test func boundsAreWrittenInSecondsAndExactly() {
        let texts = DurationHistogram.boundTexts
        #expect(texts.first == "5e-05" && texts[1] == "0.0001" && texts.last == "104.8576")
        #expect(texts.compactMap(Double.init) == (0..<22).map { 5e-05 * Double(1 << $0) })
    }
}

/// How late the loop was of late.
@Suite struct LoopLagTests {
    @Test func aLongTurnIsToldForOneToTwoWindows() {
        var lag = LoopLag()
        #expect(lag.longest == 0)
        lag.record(5)
        lag.record(3)
        #expect(lag.longest == 5)
        lag.roll()
        lag.record(2)
        #expect(lag.longest == 5)
        lag.roll()
        #expect(lag.longest == 2)
    }
}
