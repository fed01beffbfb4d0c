// SPDX-License-Identifier: Apache-2.0

import CLibUV

/// What a descriptor is ready for (UV_READABLE, UV_WRITABLE, UV_DISCONNECT, UV_PRIORITIZED).
@frozen public struct FileEvents: OptionSet, Sendable {
    public let rawValue: Int32

    @inlinable
    public init(rawValue: Int32) { self.rawValue = rawValue }

    // Computed, public and inlinable: constants wherever they are used.
    @inlinable public static var readable: FileEvents { FileEvents(rawValue: 1) }
    @inlinable public static var writable: FileEvents { FileEvents(rawValue: 2) }
    @inlinable public static var disconnect: FileEvents { FileEvents(rawValue: 4) }
    /// Both directions are closed. The kernel reports that whatever is asked for; urgent data, which is what
    /// is asked for here, does not occur.
    @inlinable public static var hangUp: FileEvents { FileEvents(rawValue: 8) }

    /// There may be something to read: bytes, or the end of them.
    @inlinable public var mayRead: Bool { rawValue & 5 != 0 }
    @inlinable public var mayWrite: Bool { rawValue & 2 != 0 }
    @inlinable public var isHungUp: Bool { rawValue & 8 != 0 }
}

/// Who is told that a watched descriptor is ready.
package protocol FileWatcherDelegate: AnyObject {
    /// `error` is set when the descriptor has an error pending (a reset, a refused connect): the
    /// watch has ended, and `events` are those that were watched and `.disconnect`. Reading, or
    /// PQconnectPoll, still delivers what arrived and then says which error it was.
    func fileReady(_ events: FileEvents, error: UVError?)

    /// `fileReady` of this object, which somebody else keeps alive. Not to be implemented: a requirement, so that there
    /// is one for each class.
    static func deliver(
        _ events: FileEvents, error: UVError?, to delegate: UnsafeMutableRawPointer)
}

extension FileWatcherDelegate {
    package static func deliver(
        _ events: FileEvents, error: UVError?, to delegate: UnsafeMutableRawPointer
    ) {
        // SAFETY: an object of this class, by the caller's word.
        unsafe Unmanaged<Self>.fromOpaque(delegate)._withUnsafeGuaranteedRef {
            $0.fileReady(events, error: error)
        }
    }
}

/// Watches one descriptor that somebody else owns (uv_poll_t).
///
/// Invariant: at most one watcher of a loop is active on a descriptor. `close()` takes the
/// descriptor out of the kernel's set at once, so its owner may close it right after; the handle's
/// memory lives until libuv's close callback. A change of the set costs two epoll_ctl calls, so
/// that a pause of reading is best put off until bytes arrive that nobody can take.
@safe
package final class FileWatcher {
    package let descriptor: Int32
    /// What is watched now.
    package private(set) var watched: FileEvents = []
    private var isClosed = false
    /// An event is being delivered. What was the delegate until something in there has ended that lives until it is over
    /// (`departed`).
    private var isDelivering = false
    /// Held as long as it is the delegate.
    package var delegate: (any FileWatcherDelegate)? {
        get {
            // SAFETY: it is held.
            unsafe target.flatMap {
                unsafe Unmanaged<AnyObject>.fromOpaque($0).takeUnretainedValue()
                    as? any FileWatcherDelegate
            }
        }
        set {
            let last = unsafe target
            // SAFETY: `release` is the balance, here, in `ready` or at the end of the watcher.
            unsafe target = newValue.map {
                unsafe Unmanaged<AnyObject>.passRetained($0).toOpaque()
            }
            type = newValue.map { Swift.type(of: $0) }
            guard let last = unsafe last else { return }
            if isDelivering {
                unsafe departed.append(last)
            } else {
                unsafe Self.release(last)
            }
        }
    }
    /// The delegate, and its class: an event that takes it from a property would count it up and down.
    private var target: UnsafeMutableRawPointer?
    private var type: (any FileWatcherDelegate.Type)?
    private var departed: [UnsafeMutableRawPointer] = unsafe []
    private let cell: HandleCell<uv_poll_t>

    /// Makes the descriptor non-blocking (uv_poll_init). It must be a socket, a pipe or a pidfd.
    package init(loop: EventLoop, descriptor: Int32) throws(UVError) {
        let cell = unsafe HandleCell<uv_poll_t>()
        let status = unsafe uv_poll_init(loop.pointer, cell.pointer, descriptor)
        guard status == 0 else {
            unsafe cell.discard()
            throw UVError(code: status, call: "uv_poll_init")
        }
        unsafe self.cell = unsafe cell
        self.descriptor = descriptor
        unsafe cell.adopt(owner: self)
    }

    deinit { if let target = unsafe target { unsafe Self.release(target) } }

    private static func release(_ target: UnsafeMutableRawPointer) {
        unsafe Unmanaged<AnyObject>.fromOpaque(target).release()
    }

    /// uv_poll_start, unless the set is watched already; uv_poll_stop for the empty set.
    package func watch(_ events: FileEvents) {
        precondition(!isClosed, "a closed file watcher was asked to watch")
        if events == watched { return }
        watched = events
        let status = unsafe uv_poll_start(cell.pointer, events.rawValue, fileReadyThunk)
        precondition(status == 0, "two watchers are active on one descriptor")
    }

    /// Idempotent, also from inside the own callback.
    package func close() {
        if isClosed { return }
        isClosed = true
        watched = []
        delegate = nil
        // uv_close would do it too. It stands here because the owner's right to close the
        // descriptor rests on it: uv_poll_stop drops the events of this turn that are still queued
        // for the descriptor and takes it out of epoll (uv__platform_invalidate_fd).
        _ = unsafe uv_poll_stop(cell.pointer)
        unsafe cell.close()
    }

    fileprivate func ready(status: Int32, events: Int32) {
        var ready = FileEvents(rawValue: events)
        var error: UVError?
        if status < 0 {
            // libuv has stopped the watch by itself.
            ready = watched.union(.disconnect)
            watched = []
            error = UVError(code: status, call: "uv_poll_start")
        }
        guard let target = unsafe target, let type else { return }
        let isOutermost = !isDelivering
        isDelivering = true
        // SAFETY: the object is held, by `target` or by `departed`, until this is over.
        unsafe type.deliver(ready, error: error, to: target)
        guard isOutermost else { return }
        isDelivering = false
        guard unsafe !departed.isEmpty else { return }
        let over = unsafe exchange(&departed, with: [])
        for index in unsafe over.indices { unsafe Self.release(over[index]) }
    }
}

private func fileReadyThunk(
    _ handle: UnsafeMutablePointer<uv_poll_t>?, _ status: Int32, _ events: Int32
) {
    // SAFETY: the cell retains its owner until the close callback.
    unsafe Unmanaged<FileWatcher>.fromOpaque(handle!.pointee.data!)
        ._withUnsafeGuaranteedRef { $0.ready(status: status, events: events) }
}
