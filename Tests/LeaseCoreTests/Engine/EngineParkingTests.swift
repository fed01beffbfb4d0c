// SPDX-License-Identifier: Apache-2.0

import LeaseSimulation
import Testing

/// Workers, token, page and broker in every order of their steps (`ParkingExplorer`).
@Suite struct EngineParkingTests {
    private func explore(
        _ change: (inout ParkingExplorer.Setting) -> Void
    ) -> ParkingExplorer.Report {
        var setting = ParkingExplorer.Setting()
        change(&setting)
        return ParkingExplorer.explore(setting)
    }

    @Test func honestWorkersOfTwoProcesses() {
        let report = explore { _ in }
        #expect(report.violation == nil)
        #expect(report.states > 30)
        for step in ["park(0)", "takeBack(0)", "letLie(0)", "brokerHearsBell(0)", "giveBack(0)"] {
            #expect(report.taken[step] ?? 0 > 0, "\(step) was never possible")
        }
    }

    @Test func honestWorkersOfOneProcess() {
        let report = explore { $0.sharesProcess = true }
        #expect(report.violation == nil)
        #expect(report.states > 30)
    }

    @Test func aWorkerThatIsKilledAtAnyStep() {
        let report = explore {
            $0.dies = true
            $0.moves = 3
        }
        #expect(report.violation == nil)
        #expect(report.taken["die(0)"] ?? 0 > 3)
    }

    @Test func aWorkerThatLies() {
        let report = explore {
            $0.lies = true
            $0.moves = 3
        }
        #expect(report.violation == nil)
        #expect(report.taken["useWhatIsParked(0)"] ?? 0 > 0)
        #expect(report.taken["parkWhatIsUsed(0)"] ?? 0 > 0)
    }

    @Test func aWorkerThatLiesAndIsKilled() {
        let report = explore {
            $0.lies = true
            $0.dies = true
            $0.moves = 2
        }
        #expect(report.violation == nil)
    }
}
