// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// Accepts connections on a Unix path, an abstract name or TCP addresses. Owns its listening
/// sockets and the socket file; hands each accepted descriptor, non-blocking and close-on-exec, over.
///
/// When the process runs out of descriptors, it spends one that it keeps spare to take the waiting
/// connections and turn them away, tells `onError` once, and rests for `backOff`: a full table neither
/// leaves a client hanging nor keeps the loop busy.
package final class Listener: FileWatcherDelegate {
    package enum Address: Equatable, Sendable {
        /// A leading `@` stands for the abstract namespace.
        case unix(path: String)
        /// `*` or the empty host: all addresses of both families. Port 0: any free one.
        case tcp(host: String, port: UInt16)
    }

    /// How many connections one turn of the loop takes from one socket.
    private static let acceptsPerTurn = 64
    private static let backOff: Int64 = 50_000_000

    /// Called with a connection that came when no descriptor was left, instead of `onAccept`: the
    /// chance to say so. The listener closes the descriptor afterwards.
    package var onRefuse: ((Int32) -> Void)?

    private let loop: EventLoop
    private var entries: [Entry] = []
    private var onAccept: ((Int32) -> Void)?
    private var onError: ((UVError) -> Void)?
    private var rest: LoopTimer?
    private var isPaused = false
    private var spare: Int32

    /// Binds and listens before it returns. The name of a TCP host is looked up on this thread.
    /// - Parameters: `mode` and `group` of the socket file are set before anyone can connect. What another process
    ///   hands over at this address is used instead of a socket of its own. `sharesPort`: SO_REUSEPORT. What `taken`
    ///   are listened on already is passed over.
    package init(
        loop: EventLoop, address: Address, backlog: Int32 = 1024, mode: UInt16? = nil,
        group: UInt32? = nil, handed: HandedSockets? = nil, sharesPort: Bool = false,
        taken: [SocketAddress] = [], onAccept: @escaping (Int32) -> Void,
        onError: @escaping (UVError) -> Void
    ) throws(UVError) {
        self.loop = loop
        self.onAccept = onAccept
        self.onError = onError
        spare = Listener.openSpare()
        do throws(UVError) {
            switch address {
            case .unix(let path):
                if let known = handed?.take(unix: path) {
                    let socket = try ListeningSocket(
                        taking: known, unix: path, backlog: backlog, mode: mode, group: group)
                    entries = [try Entry(loop: loop, socket: socket)]
                } else {
                    let socket = try ListeningSocket(
                        unix: path, backlog: backlog, mode: mode, group: group)
                    entries = [try Entry(loop: loop, socket: socket)]
                }
            case .tcp(let host, let port):
                let place = Place(
                    host: host, port: port, backlog: backlog, sharesPort: sharesPort, taken: taken)
                entries = try Listener.listen(loop, at: place, handed)
            }
        } catch {
            closeSpare()
            throw error
        }
        start()
    }

    /// Takes over a socket that listens already (systemd's socket activation), and closes it.
    package init(
        loop: EventLoop, adopting descriptor: Int32, onAccept: @escaping (Int32) -> Void,
        onError: @escaping (UVError) -> Void
    ) throws(UVError) {
        self.loop = loop
        self.onAccept = onAccept
        self.onError = onError
        spare = Listener.openSpare()
        do throws(UVError) {
            let socket = try ListeningSocket(adopting: descriptor)
            entries = [try Entry(loop: loop, socket: socket)]
        } catch {
            closeSpare()
            throw error
        }
        start()
    }

    /// The numeric addresses it listens on; none for a Unix socket.
    package var tcpAddresses: [SocketAddress] {
        entries.compactMap { SocketAddress(localOf: $0.descriptor) }
    }

    /// What another process needs to listen at the same addresses. The descriptors stay this one's.
    package var handedOut: [HandedSockets.Socket] { entries.map(\.handedOut) }

    /// TCP_DEFER_ACCEPT: the kernel keeps a connection to itself for about so many seconds, until its client has sent
    /// something. 0: not at all. Of no interest to a Unix socket.
    package func deferAccept(seconds: Int32) {
        for entry in entries where !Descriptor.isUnixSocket(entry.descriptor) {
            // It only spares a turn of the loop: a kernel without it serves as well.
            try? Descriptor.setOption(
                entry.descriptor, Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, seconds)
        }
    }

    /// Takes those who wait to be accepted, before it is closed. More than the queue holds do not come.
    package func acceptWaiting() {
        for entry in entries {
            for _ in 0..<Listener.turnsOfLastAccept where onAccept != nil {
                acceptSome(entry.descriptor)
            }
        }
    }

    /// A queue of 65,535, as long as the longest.
    private static let turnsOfLastAccept = 1024

    /// Another process listens at its addresses from here on: closes without taking the file away.
    package func surrender() {
        for entry in entries { entry.surrender() }
        close()
    }

    /// What was taken over from another process is this one's from here on.
    package func claim() {
        for entry in entries { entry.claim() }
    }

    /// Leaves new connections in the kernel's queue.
    package func pause() {
        isPaused = true
        for entry in entries { entry.watcher.watch([]) }
    }

    package func resume() {
        isPaused = false
        if rest?.deadline == nil {
            for entry in entries { entry.watcher.watch(.readable) }
        }
    }

    /// Idempotent, also from inside the handlers. Removes the socket file.
    package func close() {
        if onAccept == nil { return }
        onAccept = nil
        onError = nil
        onRefuse = nil
        for entry in entries { entry.watcher.close() }
        entries = []
        rest?.close()
        rest = nil
        closeSpare()
    }

    package func fileReady(_ events: FileEvents, error: UVError?) {
        // Whichever socket it was: an accept that finds nobody costs one call, and there are two
        // sockets at most in practice.
        for entry in entries {
            acceptSome(entry.descriptor)
            if onAccept == nil { return }
        }
        if let error { onError?(error) }
    }

    private func acceptSome(_ descriptor: Int32) {
        for _ in 0..<Listener.acceptsPerTurn {
            let connection = pglease_accept(descriptor)
            if connection >= 0 {
                onAccept?(connection)
                // The handler may have paused or closed the listener.
                if onAccept == nil || isPaused { return }
                continue
            }
            switch errno {
            case EAGAIN: return
            // The client was gone before we came, or accept(2) passes on an error of its network.
            case EINTR, ECONNABORTED, EPROTO, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH,
                ENOPROTOOPT, ENONET, EOPNOTSUPP, EPERM:
                continue
            default:
                takeRest(after: UVError(errno: errno, call: "accept4"), on: descriptor)
                return
            }
        }
    }

    private func takeRest(after error: UVError, on descriptor: Int32) {
        if error.isDescriptorsExhausted { refuseWaiting(descriptor) }
        for entry in entries { entry.watcher.watch([]) }
        if let rest {
            rest.arm(at: loop.now + Listener.backOff)
        } else {
            // uv_timer_init cannot fail (libuv 1.44); without it `resume` is what starts again.
            rest = try? LoopTimer(loop: loop) { [unowned self] in
                if !isPaused { resume() }
            }
            rest?.arm(at: loop.now + Listener.backOff)
        }
        onError?(error)
    }

    private func refuseWaiting(_ descriptor: Int32) {
        for _ in 0..<Listener.acceptsPerTurn where spare >= 0 {
            closeSpare()
            let connection = pglease_accept(descriptor)
            if connection >= 0 {
                onRefuse?(connection)
                Descriptor.close(connection)
            }
            if onAccept == nil { return }
            spare = Listener.openSpare()
            if connection < 0 { return }
        }
    }

    private func start() {
        for entry in entries {
            entry.watcher.delegate = self
            entry.watcher.watch(.readable)
        }
    }

    private func closeSpare() {
        if spare >= 0 { Descriptor.close(spare) }
        spare = -1
    }

    private static func openSpare() -> Int32 { unsafe open("/dev/null", O_RDONLY | O_CLOEXEC) }

    private struct Place {
        let host: String
        let port: UInt16
        let backlog: Int32
        let sharesPort: Bool
        let taken: [SocketAddress]
    }

    private static func listen(
        _ loop: EventLoop, at place: Place, _ handed: HandedSockets?
    ) throws(UVError) -> [Entry] {
        let host = place.host
        let isWildcard = host.isEmpty || host == "*"
        var entries: [Entry] = []
        var missing: UVError?
        var port = place.port
        var isTaken = false
        for address in try loop.resolveNow(host: isWildcard ? nil : host, port: port) {
            if place.taken.contains(where: { $0.port == port && $0.includes(address) }) {
                isTaken = true
                continue
            }
            do throws(UVError) {
                if let known = handed?.take(address, port: port) {
                    let socket = try ListeningSocket(
                        taking: known, unix: nil, backlog: place.backlog, mode: nil, group: nil)
                    entries.append(try Entry(loop: loop, socket: socket))
                } else {
                    let socket = try ListeningSocket(
                        tcp: address, port: port, backlog: place.backlog,
                        sharesPort: place.sharesPort)
                    entries.append(try Entry(loop: loop, socket: socket))
                }
            } catch {
                guard error.isFamilyMissing else { throw error }
                missing = error
                continue
            }
            // The second family gets the port that the first one was given.
            if port == 0, let bound = SocketAddress(localOf: entries[0].descriptor) {
                port = bound.port
            }
        }
        if entries.isEmpty, !isTaken {
            throw missing
                ?? UVError(
                    code: -EADDRNOTAVAIL, call: "bind",
                    message: "no address to listen on for \(host)")
        }
        return entries
    }

    /// One listening socket and its watcher. Closes the socket when the last reference goes, which
    /// is after `watcher.close()`.
    private final class Entry {
        private var socket: ListeningSocket
        let watcher: FileWatcher

        var descriptor: Int32 { socket.descriptor }
        var handedOut: HandedSockets.Socket { socket.handedOut }

        init(loop: EventLoop, socket: consuming ListeningSocket) throws(UVError) {
            watcher = try FileWatcher(loop: loop, descriptor: socket.descriptor)
            self.socket = socket
        }

        deinit { watcher.close() }

        func surrender() { socket.surrender() }

        func claim() { socket.claim() }
    }
}

extension UVError {
    /// The machine has no IPv6, or not this address: no reason to refuse a name that has others, as
    /// `localhost` often has in a container.
    fileprivate var isFamilyMissing: Bool {
        code == -EAFNOSUPPORT || code == -EADDRNOTAVAIL
    }
}
