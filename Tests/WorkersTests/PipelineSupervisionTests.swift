// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Workers

/// The manager's decisions, with the clock moved by hand.
@Suite struct PipelineSupervisionTests {
    private struct World {
        var machine: Supervision
        var now = ContinuousClock.now
        var random = SeededRandom(seed: 7)

        init() {
            var policy = Supervision.Policy()
            policy.grace = .seconds(10)
            policy.restart = RetryDelay(first: .seconds(1), limit: .seconds(60))
            policy.healthyAfter = .seconds(60)
            machine = Supervision(policy)
        }

        mutating func handle(_ event: Supervision.Event) -> [Supervision.Effect] {
            var effects: [Supervision.Effect] = []
            machine.handle(event, now: now, using: &random, into: &effects)
            return effects
        }

        mutating func list(_ rows: PipelineRow...) -> [Supervision.Effect] {
            handle(.listed(rows))
        }

        mutating func ended(_ pipeline: Int, _ generation: Int) -> [Supervision.Effect] {
            handle(.ended(pipeline: pipeline, generation: generation, .exited(0)))
        }

        mutating func advance(_ time: Duration) -> [Supervision.Effect] {
            now = now.advanced(by: time)
            return handle(.timePassed)
        }
    }

    private func row(
        _ id: Int, _ status: String = "START", _ fingerprint: String = "a"
    ) -> PipelineRow {
        PipelineRow(id: id, name: "p\(id)", status: status, fingerprint: fingerprint)
    }

    @Test("START starts it once; PAUSE stops it, notes it and gives it back")
    func startAndPause() {
        var world = World()
        #expect(world.list(row(1)) == [.start(pipeline: 1, name: "p1", generation: 1)])
        #expect(world.list(row(1)) == [])
        #expect(world.list(row(1, "PAUSE")) == [.terminate(pipeline: 1, generation: 1)])
        #expect(world.list(row(1, "PAUSE")) == [])
        #expect(world.ended(1, 1) == [.notePaused(pipeline: 1), .release(pipeline: 1)])
        #expect(world.list(row(1, "PAUSE")) == [])
        #expect(world.machine.running == [])
    }

    @Test("REFRESH restarts once, however often and late the row shows it (D9)")
    func refreshOnce() {
        var world = World()
        _ = world.list(row(1))
        #expect(world.list(row(1, "REFRESH")) == [.terminate(pipeline: 1, generation: 1)])
        #expect(world.list(row(1, "REFRESH")) == [])
        #expect(
            world.ended(1, 1) == [
                .start(pipeline: 1, name: "p1", generation: 2), .finishRefresh(pipeline: 1),
            ])
        // The word that it is done was lost: it is said again, and nothing restarts.
        #expect(world.list(row(1, "REFRESH")) == [.finishRefresh(pipeline: 1)])
        #expect(world.list(row(1)) == [])
        #expect(world.list(row(1, "REFRESH")) == [.terminate(pipeline: 1, generation: 2)])
    }

    @Test("a change of what it reads restarts it, another update of its row does not")
    func realChange() {
        var world = World()
        _ = world.list(row(1))
        #expect(world.list(row(1)) == [])
        #expect(world.list(row(1, "START", "b")) == [.terminate(pipeline: 1, generation: 1)])
        #expect(world.ended(1, 1) == [.start(pipeline: 1, name: "p1", generation: 2)])
        #expect(world.list(row(1, "START", "b")) == [])
    }

    @Test("a removed pipeline is stopped and forgotten")
    func removed() {
        var world = World()
        _ = world.list(row(1), row(2))
        #expect(world.list(row(2)) == [.terminate(pipeline: 1, generation: 1)])
        #expect(world.ended(1, 1) == [.release(pipeline: 1)])
        #expect(world.machine.running == [2])
    }

    @Test("death backs off more and more, and a healthy time forgives")
    func death() throws {
        var world = World()
        _ = world.list(row(1))
        var pauses: [Duration] = []
        for generation in 1...12 {
            let effects = world.ended(1, generation)
            guard case .noteDied(1, .exited(0), let pause)? = effects.first else {
                Issue.record("\(effects)")
                return
            }
            #expect(effects.count == 1)
            pauses.append(pause)
            #expect(world.list(row(1)) == [])
            #expect(world.advance(pause - .milliseconds(1)) == [])
            #expect(
                world.advance(.milliseconds(2)) == [
                    .start(pipeline: 1, name: "p1", generation: generation + 1)
                ])
        }
        #expect(pauses[0] <= .seconds(1))
        #expect(pauses[11] >= .seconds(30) && pauses[11] <= .seconds(60))
        _ = world.advance(.seconds(61))
        guard case .noteDied(_, _, let pause)? = world.ended(1, 13).first else {
            Issue.record("not noted")
            return
        }
        #expect(pause <= .seconds(1))
    }

    @Test("what made it fail may be mended: a change starts it without waiting")
    func mended() {
        var world = World()
        _ = world.list(row(1))
        _ = world.ended(1, 1)
        #expect(
            world.list(row(1, "START", "b")) == [.start(pipeline: 1, name: "p1", generation: 2)])
        _ = world.ended(1, 2)
        #expect(
            world.list(row(1, "REFRESH", "b")) == [
                .start(pipeline: 1, name: "p1", generation: 3), .finishRefresh(pipeline: 1),
            ])
    }

    @Test("one that does not obey is killed once, and delays nobody")
    func kills() {
        var world = World()
        _ = world.list(row(1), row(2))
        _ = world.list(row(1, "PAUSE"), row(2))
        #expect(world.machine.nextDeadline == world.now.advanced(by: .seconds(10)))
        #expect(
            world.list(row(1, "PAUSE"), row(2, "PAUSE")) == [.terminate(pipeline: 2, generation: 2)]
        )
        #expect(world.ended(2, 2) == [.notePaused(pipeline: 2), .release(pipeline: 2)])
        #expect(world.advance(.seconds(10)) == [.kill(pipeline: 1, generation: 1)])
        #expect(world.advance(.seconds(10)) == [])
        #expect(world.ended(1, 1) == [.notePaused(pipeline: 1), .release(pipeline: 1)])
    }

    @Test("paused and wanted again before it ended: it restarts")
    func wantedAgain() {
        var world = World()
        _ = world.list(row(1))
        _ = world.list(row(1, "PAUSE"))
        #expect(world.list(row(1)) == [])
        #expect(world.ended(1, 1) == [.start(pipeline: 1, name: "p1", generation: 2)])
        _ = world.list(row(1, "REFRESH"))
        #expect(world.list(row(1, "PAUSE")) == [])
        #expect(world.ended(1, 2) == [.notePaused(pipeline: 1), .release(pipeline: 1)])
    }

    @Test("a pause while it backs off needs no process; news of an old process are ignored")
    func pausedWhileBackingOff() {
        var world = World()
        _ = world.list(row(1))
        _ = world.ended(1, 1)
        #expect(world.list(row(1, "PAUSE")) == [.notePaused(pipeline: 1), .release(pipeline: 1)])
        #expect(world.ended(1, 1) == [])
        _ = world.list(row(1))
        #expect(world.ended(1, 1) == [])
        #expect(world.machine.running == [1])
    }

    @Test("shutdown stops all and is done when all have ended; nothing starts any more")
    func shutdown() {
        var world = World()
        _ = world.list(row(1), row(2), row(3))
        _ = world.ended(2, 2)
        _ = world.list(row(1), row(2), row(3, "PAUSE"))
        #expect(
            world.handle(.shutdown) == [
                .terminate(pipeline: 1, generation: 1), .noteEnded(pipeline: 2),
                .release(pipeline: 2),
            ])
        #expect(world.list(row(1), row(4)) == [])
        #expect(!world.machine.isDone)
        #expect(world.ended(3, 3) == [.notePaused(pipeline: 3), .release(pipeline: 3)])
        #expect(world.ended(1, 1) == [.noteEnded(pipeline: 1), .release(pipeline: 1)])
        #expect(world.machine.isDone)
    }

    @Test(
        "random events: never two processes of a pipeline, and every end is taken",
        arguments: 0..<50)
    func randomEvents(_ seed: UInt64) {
        var world = World()
        var choices = SeededRandom(seed: seed)
        var alive: [Int: Int] = [:]
        func check(_ effects: [Supervision.Effect]) {
            for effect in effects {
                switch effect {
                case .start(let id, _, let generation):
                    #expect(alive[id] == nil, "seed \(seed)")
                    alive[id] = generation
                case .terminate(let id, let generation), .kill(let id, let generation):
                    #expect(alive[id] == generation, "seed \(seed)")
                case .release(let id), .notePaused(let id), .noteEnded(let id):
                    #expect(alive[id] == nil, "seed \(seed)")
                case .finishRefresh, .noteDied: break
                }
            }
        }
        for _ in 0..<400 {
            switch Int.random(in: 0..<10, using: &choices) {
            case 0..<5:
                let rows = (1...3).filter { _ in Int.random(in: 0..<8, using: &choices) > 0 }.map {
                    row(
                        $0, ["START", "PAUSE", "REFRESH", "ODD"].randomElement(using: &choices)!,
                        ["a", "b"].randomElement(using: &choices)!)
                }
                check(world.handle(.listed(rows)))
            case 5..<8:
                guard let (id, generation) = alive.randomElement(using: &choices) else { continue }
                alive[id] = nil
                check(world.ended(id, generation))
            default: check(world.advance(.seconds(Int.random(in: 0..<30, using: &choices))))
            }
        }
        check(world.handle(.shutdown))
        for (id, generation) in alive {
            alive[id] = nil
            check(world.ended(id, generation))
        }
        #expect(world.machine.isDone)
    }
}
