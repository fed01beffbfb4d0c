// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// One process of this machine, and no other that gets its number later.
package struct ProcessIdentity: Hashable, Sendable {
    package let processID: Int32
    /// Of its socket: a process that changes it is another one.
    package let userID: UInt32
    /// What the number has not got: see `mark(of:)`. 0: it is not known, nor whether two are the same.
    package let mark: UInt64

    package init(processID: Int32, userID: UInt32, mark: UInt64) {
        self.processID = processID
        self.userID = userID
        self.mark = mark
    }

    package var isCertain: Bool { mark != 0 }

    /// Whether the number is still its own.
    package var isStillThere: Bool { isCertain && ProcessIdentity.mark(of: processID) == mark }
}

extension ProcessIdentity {
    /// What tells the process that has this number now from others that had it: since Linux 6.9 the inode of
    /// its pidfd, before that the time of its start. nil: there is none, or it cannot be looked at.
    package static func mark(of processID: Int32) -> UInt64? {
        guard ProcessDescriptor.haveInodes else { return startTime(of: processID) }
        let descriptor = pglease_pidfd_open(processID)
        guard descriptor >= 0 else { return nil }
        defer { Descriptor.close(descriptor) }
        return ProcessDescriptor.inode(of: descriptor)
    }

    /// In clock ticks since the machine started. Waits for nothing.
    static func startTime(of processID: Int32) -> UInt64? {
        // It is read for each login: no strings, no arrays.
        let descriptor = pglease_open_stat(processID)
        guard descriptor >= 0 else { return nil }
        defer { Descriptor.close(descriptor) }
        return unsafe withUnsafeTemporaryAllocation(byteCount: statLength, alignment: 1) { space in
            // SAFETY: the kernel writes at most `statLength` bytes; the file comes in one piece.
            let count = unsafe max(0, Glibc.read(descriptor, space.baseAddress, space.count))
            return unsafe startTime(inStat: UnsafeRawBufferPointer(rebasing: space[..<count]))
        }
    }

    /// Field 22 of /proc/PID/stat. The second is the program's name, which may hold blanks and parentheses.
    static func startTime(inStat text: UnsafeRawBufferPointer) -> UInt64? {
        // A name has at most 63 bytes, and behind it are no parentheses.
        var name = min(text.count, 128) - 1
        while name >= 0, unsafe text[name] != UInt8(ascii: ")") { name -= 1 }
        guard name >= 0 else { return nil }
        // The rest is words, of which this one is a number.
        var field = 2
        var isInside = false
        var time: UInt64 = 0
        for index in (name + 1)..<text.count {
            let sign = unsafe text[index]
            guard sign != UInt8(ascii: " ") else {
                if isInside, field == startField { return time }
                isInside = false
                continue
            }
            if !isInside { field += 1 }
            isInside = true
            guard field == startField else { continue }
            let digit = sign &- UInt8(ascii: "0")
            let (tenfold, isTooMuch) = time.multipliedReportingOverflow(by: 10)
            let (next, isMore) = tenfold.addingReportingOverflow(UInt64(digit))
            guard digit < 10, !isTooMuch, !isMore else { return nil }
            time = next
        }
        return isInside && field == startField ? time : nil
    }

    private static let startField = 22
    private static let statLength = 1024
}

/// A descriptor of a process (pidfd_open(2), SO_PEERPIDFD).
enum ProcessDescriptor {
    /// Whether the process has ended. A zombie has.
    static func hasEnded(_ descriptor: Int32) -> Bool {
        var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&one, 1, 0) == 1
    }

    /// Each process has a number of its own for its descriptors, which is not given again.
    static let haveInodes: Bool = {
        let descriptor = pglease_pidfd_open(getpid())
        guard descriptor >= 0 else { return false }
        defer { Descriptor.close(descriptor) }
        return pglease_is_pidfs(descriptor) != 0
    }()

    static func inode(of descriptor: Int32) -> UInt64? {
        var status = stat()
        // SAFETY: fstat fills the structure, or leaves it.
        return unsafe fstat(descriptor, &status) == 0 ? UInt64(status.st_ino) : nil
    }
}
