// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// The socket file of a Unix listener and the lock beside it (`<path>.lock`, as PostgreSQL has it).
///
/// Invariant: while the value lives, the lock is held, and the file at `path` is ours to remove.
struct UnixSocketFile: ~Copyable {
    private let path: String
    let lock: Int32
    private var identity: FileIdentity?
    private var isSurrendered = false

    /// Takes the lock and removes a socket file that nobody listens on. Throws when somebody does.
    init(claiming path: String) throws(UVError) {
        let lock = try UnixSocketFile.takeLock(path + ".lock", for: path)
        do throws(UVError) {
            try UnixSocketFile.removeStale(path)
            try UnixSocketFile.recordOwner(in: lock)
        } catch {
            Descriptor.close(lock)
            throw error
        }
        self.path = path
        self.lock = lock
    }

    /// The lock as another process handed it out: it is held by both as long as both live. The file is the other's
    /// until `claim`.
    init(taking lock: Int32, of path: String) throws(UVError) {
        guard flock(lock, LOCK_EX | LOCK_NB) == 0,
            FileIdentity(descriptor: lock) == FileIdentity(path: path + ".lock")
        else {
            Descriptor.close(lock)
            throw UVError(
                code: -EADDRINUSE, call: "flock",
                message: "what was handed over is not the lock of \(path)")
        }
        self.path = path
        self.lock = lock
        isSurrendered = true
    }

    /// The file and the lock, taken over, are this process's from here on.
    mutating func claim() {
        guard isSurrendered else { return }
        isSurrendered = false
        // For people: the lock is what counts.
        try? UnixSocketFile.recordOwner(in: lock)
    }

    /// The file and the lock are another process's from here on.
    mutating func surrender() { isSurrendered = true }

    deinit {
        if isSurrendered {
            Descriptor.close(lock)
            return
        }
        // Somebody may have put another file there: it is not ours to remove.
        if let identity, FileIdentity(path: path) == identity { _ = unsafe unlink(path) }
        _ = unsafe unlink(path + ".lock")
        Descriptor.close(lock)
    }

    /// Called after bind and before listen, so that nobody can connect with the wrong rights.
    mutating func settle(mode: UInt16?, group: UInt32?) throws(UVError) {
        identity = FileIdentity(path: path)
        if let group, unsafe chown(path, uid_t.max, group) != 0 {
            throw UVError(errno: errno, call: "chown")
        }
        if let mode, unsafe chmod(path, mode_t(mode)) != 0 {
            throw UVError(errno: errno, call: "chmod")
        }
    }

    private static func takeLock(_ name: String, for path: String) throws(UVError) -> Int32 {
        while true {
            // Not through a link: its target is somebody else's file, and never the one that `name` is.
            let flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW
            let lock = unsafe open(name, flags, 0o600)
            guard lock >= 0 else {
                let error = errno
                if error == ELOOP {
                    throw UVError(
                        code: -EEXIST, call: "open",
                        message: "\(name) is a symbolic link: remove it")
                }
                throw UVError(
                    code: -error, call: "open",
                    message: "cannot open \(name): \(UVError(errno: error, call: "").message)")
            }
            guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
                Descriptor.close(lock)
                throw occupied(path, because: "it holds \(name)")
            }
            // The former holder may have removed the file between our open and our flock; then the
            // lock is on a file that no one else can find.
            if FileIdentity(descriptor: lock) == FileIdentity(path: name) { return lock }
            Descriptor.close(lock)
        }
    }

    private static func removeStale(_ path: String) throws(UVError) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw UVError(errno: errno, call: "lstat")
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw UVError(
                code: -EEXIST, call: "bind", message: "\(path) exists and is no socket")
        }
        let probe = try ListeningSocket.makeSocket(family: AF_UNIX)
        defer { Descriptor.close(probe) }
        let address = try UnixAddress(path: path)
        if unsafe address.withPointer({ unsafe connect(probe, $0, $1) }) == 0 {
            throw occupied(path, because: "it accepted a connection")
        }
        switch errno {
        case ECONNREFUSED:
            if unsafe unlink(path) != 0, errno != ENOENT {
                throw UVError(errno: errno, call: "unlink")
            }
        case ENOENT:
            break
        default:
            // EAGAIN is a full queue, EACCES somebody else's socket: neither is ours to take.
            throw occupied(path, because: UVError(errno: errno, call: "connect").message)
        }
    }

    /// The process id in the lock file is for people; the lock is what counts.
    private static func recordOwner(in lock: Int32) throws(UVError) {
        let line = Array("\(getpid())\n".utf8)
        let written = unsafe line.withUnsafeBytes { bytes in
            unsafe pwrite(lock, bytes.baseAddress, bytes.count, 0)
        }
        guard written == line.count, ftruncate(lock, off_t(line.count)) == 0 else {
            throw UVError(errno: errno, call: "pwrite")
        }
    }

    private static func occupied(_ path: String, because reason: String) -> UVError {
        UVError(
            code: -EADDRINUSE, call: "bind",
            message: "another process listens on \(path): \(reason)")
    }
}

/// Which file a name or a descriptor stands for.
private struct FileIdentity: Equatable {
    let device: dev_t
    let inode: ino_t

    init?(path: String) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return nil }
        (device, inode) = (status.st_dev, status.st_ino)
    }

    init?(descriptor: Int32) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        (device, inode) = (status.st_dev, status.st_ino)
    }
}

/// A Unix socket's address; a path that begins with `@` names one in the abstract namespace.
struct UnixAddress {
    private var address = sockaddr_un()
    private let length: socklen_t

    init(path: String) throws(UVError) {
        var bytes = Array(path.utf8)
        let isAbstract = bytes.first == UInt8(ascii: "@")
        // The kernel counts an abstract name by length, a path ends with a NUL.
        if isAbstract { bytes[0] = 0 } else { bytes.append(0) }
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard bytes.count <= room, bytes.count > 1 else {
            throw UVError(
                code: -ENAMETOOLONG, call: "bind",
                message: "the socket's path \(path) is longer than \(room - 1) bytes, or empty")
        }
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
        length = socklen_t(offset + bytes.count)
    }

    /// Where a socket is bound, in the same words; nil for one that is not a Unix socket, or has no name.
    static func path(of descriptor: Int32) -> String? {
        var address = sockaddr_un()
        var length = socklen_t(MemoryLayout<sockaddr_un>.size)
        // SAFETY: the kernel writes at most `length` bytes.
        let status = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getsockname(descriptor, $0, &length)
            }
        }
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
        guard status == 0, address.sun_family == sa_family_t(AF_UNIX), Int(length) > offset else {
            return nil
        }
        let count = min(Int(length) - offset, MemoryLayout.size(ofValue: address.sun_path))
        var bytes = unsafe withUnsafeBytes(of: &address.sun_path) { unsafe Array($0.prefix(count)) }
        if bytes[0] == 0 {
            bytes[0] = UInt8(ascii: "@")
        } else {
            bytes = Array(bytes.prefix { $0 != 0 })
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func withPointer<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        // SAFETY: every socket address begins with the fields of sockaddr.
        unsafe withUnsafePointer(to: address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, length)
            }
        }
    }
}
