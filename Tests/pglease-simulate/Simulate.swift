// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import HotPaths
import LeaseSimulation

/// The seed that runs now, for the handler that a trap leaves by.
nonisolated(unsafe) private var runningSeed: UInt64 = 0

/// Which part of the core runs.
enum Machine: String, ExpressibleByArgument, CaseIterable {
    case scheduler, engine, listen, shares, all
}

@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pglease-simulate",
        abstract: "Run the core in a fake world, and check every promise after every event.")

    @Option(help: "How many seeds to run.")
    var seeds: UInt64 = 1000

    @Option(help: "The first seed.")
    var from: UInt64 = 1

    @Option(help: "Run only this seed.")
    var seed: UInt64?

    @Option(help: "Events of turmoil in each run.")
    var steps = 600

    @Option(help: "Sidecars under a shared bound; without it, a few.")
    var hosts: Int?

    @Option(help: "Minutes of turmoil under a shared bound.")
    var minutes = 10.0

    @Flag(help: "Under a shared bound: replace the sidecars one by one, instead of turmoil.")
    var rollout = false

    @Option(help: "Which machine to run.")
    var machine = Machine.all

    @Flag(help: "Print every event and effect.")
    var trace = false

    @Flag(help: "Print what the steps of every query cost, and run no seed.")
    var measure = false

    @Flag(help: "Print how processes that lease directly share a pool, and run no seed.")
    var contention = false

    @Flag(help: "Print how pools that are locked by nested leases are relieved, and run no seed.")
    var relief = false

    @Flag(help: "Print how bursts of nested leases that pause come to their end.")
    var bursts = false

    func run() throws {
        reportTraps()
        if bursts {
            printBursts((seed ?? from)...(seed ?? from + seeds - 1), trace: trace)
            return
        }
        if relief {
            printRelief()
            return
        }
        if contention {
            printContention()
            return
        }
        if measure {
            printHotPaths()
            return
        }
        let first = seed ?? from
        let last = seed ?? from + seeds - 1
        guard first <= last else { return }
        if machine == .scheduler || machine == .all { try runScheduler(first...last) }
        if machine == .engine || machine == .all { try runEngine(first...last) }
        if machine == .listen || machine == .all { try runListening(first...last) }
        if machine == .shares || machine == .all { try runShares(first...last) }
    }

    private func runEngine(_ seeds: ClosedRange<UInt64>) throws {
        for seed in seeds {
            runningSeed = seed
            let failure = EngineSimulation.run(
                seed: seed, steps: steps, trace: trace ? { print($0) } : nil)
            guard let failure else { continue }
            if !trace {
                print("the last that happened:")
                for line in EngineSimulation.history(seed: seed, steps: steps, lines: 40) {
                    print("  \(line.prefix(400))")
                }
            }
            print("FAILED \(failure)")
            print(
                "replay: scripts/simulate --machine engine --seed \(seed) --steps \(steps) --trace")
            throw ExitCode(1)
        }
        print("engine: \(seeds.count) seeds from \(seeds.lowerBound), no promise broken")
    }

    private func runListening(_ seeds: ClosedRange<UInt64>) throws {
        for seed in seeds {
            runningSeed = seed
            let failure = ListenRun.run(
                seed: seed, steps: steps, trace: trace ? { print($0) } : nil)
            guard let failure else { continue }
            print("FAILED \(failure)")
            print(
                "replay: scripts/simulate --machine listen --seed \(seed) --steps \(steps) --trace")
            throw ExitCode(1)
        }
        print("listen: \(seeds.count) seeds from \(seeds.lowerBound), no promise broken")
    }

    private func runShares(_ seeds: ClosedRange<UInt64>) throws {
        var missed = 0
        var latest = 0.0
        var longest = 0.0
        for seed in seeds {
            runningSeed = seed
            let hosts = hosts ?? (rollout ? 100 : nil)
            var weather = ShareWeather(
                hosts: hosts ?? 2 + Int(seed % 30),
                total: hosts.map { $0 * 3 } ?? 12 + Int(seed % 13) * 9)
            weather.differentWeights = seed % 3 == 0
            weather.asksApart = seed % 2 == 0
            // As `pglease share set` has it.
            weather.spare = max(2, weather.total / 20)
            if rollout { weather.longestLease = 5 }
            var run = ShareRun(weather, seed: seed, trace: trace ? { print($0) } : nil)
            do {
                let report =
                    rollout
                    ? try run.rollOut(wanting: 6, each: 3) : try run.run(minutes: minutes)
                latest = max(latest, report.fairAfter ?? .infinity)
                longest = max(longest, report.longestBesideFree)
                let broken = report.missed
                if self.hosts != nil || rollout || broken != nil {
                    print("seed \(seed): \(weather.hosts) sidecars, \(report)")
                }
                if let broken {
                    print("FAILED seed \(seed): \(broken)")
                    missed += 1
                }
            } catch {
                print("FAILED seed \(seed): \(error)")
                print(
                    "replay: scripts/simulate --machine shares --seed \(seed)",
                    rollout ? "--rollout" : "--minutes \(minutes)",
                    "\(hosts.map { " --hosts \($0)" } ?? "") --trace")
                throw ExitCode(1)
            }
        }
        print(
            "shares: \(seeds.count) seeds from \(seeds.lowerBound): fair after \(latest) periods at most,",
            "\(longest) s beside free places at most,",
            missed == 0 ? "no promise broken" : "\(missed) of them broke a promise")
        if missed > 0 { throw ExitCode(1) }
    }

    private func runScheduler(_ seeds: ClosedRange<UInt64>) throws {
        var events = 0
        var grants = 0
        var rejections = 0
        var locks = 0
        var lent = 0
        for seed in seeds {
            runningSeed = seed
            do {
                let report = try simulateScheduler(
                    seed: seed, steps: steps, trace: trace ? { print($0) } : nil)
                events += report.events
                grants += report.grants
                rejections += report.rejections
                locks += report.locks
                lent += report.lent
            } catch {
                print("FAILED \(error)")
                print(
                    "replay: scripts/simulate --machine scheduler --seed \(seed)",
                    "--steps \(steps) --trace")
                throw ExitCode(1)
            }
        }
        print(
            "scheduler: \(seeds.count) seeds from \(seeds.lowerBound): \(events) events, \(grants) grants,",
            "\(rejections) rejections, \(locks) pool locks, \(lent) times the reserve lent,",
            "no promise broken")
    }

    /// A broken contract ends the process: the seed is printed on the way.
    private func reportTraps() {
        for trap in [SIGILL, SIGTRAP, SIGABRT, SIGSEGV] {
            signal(trap) { number in
                var line = "FAILED seed \(runningSeed): signal \(number)\n"
                line.withUTF8 { _ = write(STDOUT_FILENO, $0.baseAddress, $0.count) }
                _exit(1)
            }
        }
    }
}
