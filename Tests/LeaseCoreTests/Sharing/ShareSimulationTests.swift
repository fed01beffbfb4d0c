// SPDX-License-Identifier: Apache-2.0

import LeaseSimulation
import Testing

/// The share machine among others of its kind. `scripts/simulate --machine shares` runs more of it, with up to 10,000.
struct ShareSimulationTests {
    @Test(arguments: UInt64(1)...40)
    func `a few sidecars in bad weather never have more than the total`(seed: UInt64) throws {
        var weather = ShareWeather(hosts: 2 + Int(seed % 9), total: 12 + Int(seed % 7) * 9)
        weather.differentWeights = seed % 3 == 0
        weather.asksApart = seed % 2 == 0
        var run = ShareRun(weather, seed: seed)
        #expect(try run.run(minutes: 10).missed == nil)
    }

    @Test(arguments: UInt64(1)...2)
    func `twenty are replaced one by one, and no new one starves`(seed: UInt64) throws {
        var weather = ShareWeather(hosts: 20, total: 60)
        weather.longestLease = 5
        weather.asksApart = seed % 2 == 0
        var run = ShareRun(weather, seed: seed)
        #expect(try run.rollOut(wanting: 6, each: 3).missed == nil)
    }

    @Test(arguments: UInt64(1)...3)
    func `three hundred of them`(seed: UInt64) throws {
        var weather = ShareWeather(hosts: 300, total: 900)
        weather.calm = 2
        var run = ShareRun(weather, seed: seed)
        #expect(try run.run(minutes: 3).missed == nil)
    }
}
