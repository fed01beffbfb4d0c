// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibUV
import Testing

@Suite(.timeLimit(.minutes(1)))
struct FileWatcherTests {
    @Test func readableWritableAndAgain() throws {
        try withLoop { loop in
            let pair = try SocketPair()
            let watcher = try FileWatcher(loop: loop, descriptor: pair.left)
            let recorder = Recorder()
            watcher.delegate = recorder

            watcher.watch(.writable)
            loop.runOnce()
            #expect(recorder.events == [.writable])

            watcher.watch(.readable)
            loop.runNoWait()
            #expect(recorder.events == [.writable])

            #expect(write("ping", to: pair.right) == .bytes(4))
            loop.runOnce()
            #expect(recorder.events == [.writable, .readable])
            #expect(read(from: pair.left).1 == "ping")
            #expect(read(from: pair.left).0 == .wouldBlock)

            watcher.watch([])
            #expect(write("more", to: pair.right) == .bytes(4))
            loop.runNoWait()
            #expect(recorder.events.count == 2)

            watcher.watch([.readable, .writable])
            loop.runOnce()
            #expect(recorder.events.last == [.readable, .writable])
            watcher.close()
            watcher.close()
        }
    }

    @Test func thePeersHalfCloseIsADisconnect() throws {
        try withLoop { loop in
            let pair = try SocketPair()
            let watcher = try FileWatcher(loop: loop, descriptor: pair.left)
            let recorder = Recorder()
            watcher.delegate = recorder
            watcher.watch(.disconnect)
            loop.runNoWait()
            #expect(recorder.events.isEmpty)
            pair.closeRight()
            loop.runOnce()
            #expect(recorder.events == [.disconnect])
            #expect(read(from: pair.left).0 == .closed)
            #expect(write("x", to: pair.left) == .closed)
            watcher.close()
        }
    }

    @Test func aResetEndsTheWatchAndLeavesTheBytesToRead() throws {
        try withLoop { loop in
            let pair = try SocketPair()
            let watcher = try FileWatcher(loop: loop, descriptor: pair.left)
            let recorder = Recorder()
            watcher.delegate = recorder
            watcher.watch(.readable)
            // A peer that goes away with our bytes unread resets the connection.
            #expect(write("unread", to: pair.left) == .bytes(6))
            #expect(write("last words", to: pair.right) == .bytes(10))
            pair.closeRight()
            loop.runOnce()
            #expect(recorder.events == [[.readable, .disconnect]])
            #expect(recorder.errors.count == 1)
            #expect(watcher.watched == [])
            #expect(read(from: pair.left).1 == "last words")
            #expect(read(from: pair.left).0 == .closed)
            watcher.close()
        }
    }

    @Test func closedInItsOwnCallbackAndFreedAfterIt() throws {
        try withLoop { loop in
            let pair = try SocketPair()
            weak var freed: FileWatcher?
            do {
                let watcher = try FileWatcher(loop: loop, descriptor: pair.left)
                freed = watcher
                let recorder = Recorder()
                recorder.react = { [unowned watcher] _ in
                    watcher.close()
                    pair.closeLeft()
                }
                watcher.delegate = recorder
                watcher.watch(.writable)
            }
            #expect(freed != nil)
            loop.run()
            #expect(freed == nil)
        }
    }

    @Test func aWatcherClosedByAnotherOfTheSameTurnIsSilent() throws {
        try withLoop { loop in
            let pair = try SocketPair()
            let left = try FileWatcher(loop: loop, descriptor: pair.left)
            let right = try FileWatcher(loop: loop, descriptor: pair.right)
            let recorders = [Recorder(), Recorder()]
            for recorder in recorders {
                recorder.react = { _ in
                    left.close()
                    right.close()
                    pair.closeLeft()
                    pair.closeRight()
                }
            }
            left.delegate = recorders[0]
            right.delegate = recorders[1]
            left.watch(.writable)
            right.watch(.writable)
            loop.run()
            #expect(recorders.map(\.events.count).reduce(0, +) == 1)
        }
    }

    @Test func aNumberUsedAgainAtOnceSeesOnlyItsOwnEvents() throws {
        try withLoop { loop in
            let pair = try SocketPair()
            let recorder = Recorder()
            let number = pair.left
            let first = try FileWatcher(loop: loop, descriptor: number)
            first.delegate = recorder
            first.watch(.readable)
            loop.runNoWait()
            #expect(write("old", to: pair.right) == .bytes(3))
            first.close()
            let other = try SocketPair()
            #expect(dup2(other.left, number) == number)
            let second = try FileWatcher(loop: loop, descriptor: number)
            second.delegate = recorder
            second.watch(.readable)
            loop.runNoWait()
            #expect(recorder.events.isEmpty)
            #expect(write("new", to: other.right) == .bytes(3))
            loop.runOnce()
            #expect(recorder.events == [.readable])
            #expect(read(from: number).1 == "new")
            second.close()
        }
    }

    @Test func aPlainFileCannotBeWatched() throws {
        try withLoop { loop in
            let file = open("/etc/passwd", O_RDONLY)
            defer { close(file) }
            let error = #expect(throws: UVError.self) {
                try FileWatcher(loop: loop, descriptor: file)
            }
            #expect(error?.name == "EPERM")
        }
    }

    @Test func theEndOfAProcessIsSeenOnce() throws {
        try withLoop { loop in
            var child: pid_t = 0
            var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("cat"), nil]
            defer { free(arguments[0]) }
            let pair = try SocketPair()
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            posix_spawn_file_actions_adddup2(&actions, pair.left, 0)
            posix_spawn_file_actions_addclose(&actions, pair.right)
            let spawned = posix_spawn(&child, "/bin/cat", &actions, nil, &arguments, nil)
            posix_spawn_file_actions_destroy(&actions)
            try #require(spawned == 0)
            var exits = 0
            let mark = try #require(ProcessIdentity.mark(of: child))
            func watch(mark: UInt64) throws(PeerProcessError) -> PeerProcess {
                try PeerProcess(
                    loop: loop, ProcessIdentity(processID: child, userID: getuid(), mark: mark)
                ) { exits += 1 }
            }
            let process = try watch(mark: mark)
            // Another process with the same number, and one that nobody knows.
            #expect(throws: PeerProcessError.ended) { try watch(mark: mark + 1) }
            #expect(throws: PeerProcessError.impossible) { try watch(mark: 0) }
            loop.runNoWait()
            #expect(exits == 0)
            kill(child, SIGKILL)
            loop.run()
            #expect(exits == 1)
            #expect(throws: PeerProcessError.ended) { try watch(mark: mark) }
            #expect(waitpid(child, nil, 0) == child)
            #expect(throws: PeerProcessError.ended) { try watch(mark: mark) }
            #expect(ProcessIdentity.mark(of: child) == nil)
            process.close()
        }
    }
}
