// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibUV
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1)))
struct EventLoopTests {
    @Test func timersFireInTheOrderOfTheirDeadlinesAndNeverEarly() throws {
        try withLoop { loop in
            var fired: [Int] = []
            var early = 0
            var timers: [LoopTimer] = []
            let start = loop.now
            for (number, wait) in [(3, 9_400_000), (1, 2_000_001), (2, 5_900_000)] {
                let deadline = start + Int64(wait)
                let timer = try LoopTimer(loop: loop) {
                    fired.append(number)
                    if loop.now < deadline { early += 1 }
                }
                timer.arm(at: deadline)
                timers.append(timer)
            }
            loop.run()
            #expect(fired == [1, 2, 3])
            #expect(early == 0)
            for timer in timers { timer.close() }
        }
    }

    @Test func aJobThatBlocksDoesNotKeepTheEndWaiting() throws {
        let loop = try EventLoop()
        let flag = Flag()
        try loop.submit({ while !flag.isSet.load(ordering: .acquiring) { usleep(1000) } }, then: {})
        #expect(!loop.close(patience: .milliseconds(5)))
        #expect(loop.hasJobs)
        flag.isSet.store(true, ordering: .releasing)
        #expect(loop.close())
        #expect(!loop.hasJobs)
    }

    @Test func aTimerThatIsRearmedForgetsItsFirstDeadline() throws {
        try withLoop { loop in
            var fired = 0
            let timer = try LoopTimer(loop: loop) { fired += 1 }
            timer.arm(at: loop.now + 3_600_000_000_000)
            timer.arm(at: loop.now - 1)
            #expect(timer.deadline != nil)
            loop.run()
            #expect(fired == 1)
            #expect(timer.deadline == nil)
            timer.arm(at: loop.now)
            timer.disarm()
            loop.run()
            #expect(fired == 1)
            timer.arm(at: .max)
            timer.close()
            timer.close()
        }
    }

    @Test func aTimerWhoseDeadlineStaysInThePastLetsOthersRun() throws {
        try withLoop { loop in
            var turns = 0
            var fired = 0
            loop.onBeforeWait { turns += 1 }
            var again: LoopTimer?
            let timer = try LoopTimer(loop: loop) {
                fired += 1
                if fired < 3 { again?.arm(at: 1) } else { again?.close() }
            }
            again = timer
            timer.arm(at: 1)
            loop.run()
            #expect(fired == 3)
            #expect(turns >= 3)
        }
    }

    @Test func aTimerMayBeClosedInItsOwnHandler() throws {
        try withLoop { loop in
            weak var watched: LoopTimer?
            do {
                var keep: LoopTimer?
                let timer = try LoopTimer(loop: loop) {
                    keep?.close()
                    keep = nil
                }
                keep = timer
                watched = timer
                timer.arm(at: loop.now)
            }
            #expect(watched != nil)
            loop.run()
            #expect(watched == nil)
        }
    }

    @Test func theHookBeforeTheWaitRunsEachTurnAndMayArmTheTimerOfThisWait() throws {
        try withLoop { loop in
            var fired = 0
            let timer = try LoopTimer(loop: loop) {
                fired += 1
                if fired == 2 { loop.stop() }
            }
            // Keeps the loop going.
            let idle = try LoopTimer(loop: loop) {}
            idle.arm(at: loop.now + 3_600_000_000_000)
            loop.onBeforeWait { timer.arm(at: loop.now) }
            loop.run()
            #expect(fired == 2)
            timer.close()
            idle.close()
        }
    }

    @Test func jobsRunElsewhereAndCompleteHere() throws {
        try withLoop { loop in
            let here = pthread_self()
            var answers: [Int] = []
            var completedHere = true
            for number in 1...20 {
                try loop.submit {
                    (number * number, pthread_equal(pthread_self(), pthread_self()) != 0)
                } then: { answer in
                    answers.append(answer.0)
                    if pthread_equal(pthread_self(), here) == 0 { completedHere = false }
                }
            }
            var workerIsOther: Bool?
            let thread = UInt(here)
            try loop.submit {
                UInt(pthread_self()) != thread
            } then: {
                workerIsOther = $0
            }
            loop.run()
            #expect(answers.sorted() == (1...20).map { $0 * $0 })
            #expect(completedHere)
            #expect(workerIsOther == true)
        }
    }

    @Test func closingTheLoopWaitsForJobs() throws {
        try withLoop { loop in
            let gate = try SocketPair()
            let right = gate.right
            var answer: String?
            try loop.submit {
                read(from: right).1
            } then: {
                answer = $0
            }
            #expect(write("open", to: gate.left) == .bytes(4))
            #expect(loop.close())
            #expect(answer == "open")
        }
    }

    @Test func signalsArriveOnTheLoop() throws {
        try withLoop { loop in
            var received = 0
            var watcher: SignalWatcher?
            watcher = try SignalWatcher(loop: loop, signal: SIGUSR1) {
                received += 1
                if received == 2 { watcher?.close() } else { kill(getpid(), SIGUSR1) }
            }
            kill(getpid(), SIGUSR1)
            loop.run()
            #expect(received == 2)
            watcher = nil
        }
    }

    @Test func aSignalThatCannotBeCaughtIsAnError() throws {
        try withLoop { loop in
            let error = #expect(throws: UVError.self) {
                try SignalWatcher(loop: loop, signal: SIGKILL) {}
            }
            #expect(error?.name == "EINVAL")
        }
    }

    @Test func namesAreResolvedToNumericAddresses() throws {
        try withLoop { loop in
            var local: [SocketAddress] = []
            var failure: UVError?
            try loop.resolve(host: "localhost", port: "5432") { local = (try? $0.get()) ?? [] }
            try loop.resolve(host: "no-such-host.invalid", port: "") { result in
                if case .failure(let error) = result { failure = error }
            }
            loop.run()
            #expect(!local.isEmpty)
            #expect(local.allSatisfy { ["127.0.0.1", "::1"].contains($0.host) && $0.port == 5432 })
            #expect(failure?.call == "uv_getaddrinfo")
        }
    }

    @Test func aLeakIsSeenWhenTheLoopIsClosed() throws {
        let loop = try EventLoop()
        let timer = try LoopTimer(loop: loop) {}
        #expect(!loop.close())
        timer.close()
        #expect(loop.close())
        #expect(loop.close())
    }

    @Test func errorsHaveTheirNames() {
        let error = UVError(errno: EADDRINUSE, call: "bind")
        #expect(error.name == "EADDRINUSE")
        #expect(error.description == "bind: address already in use (EADDRINUSE)")
        #expect(!error.isDescriptorsExhausted)
        #expect(UVError(errno: EMFILE, call: "accept4").isDescriptorsExhausted)
    }
}

private final class Flag: Sendable {
    let isSet = Atomic(false)
}
