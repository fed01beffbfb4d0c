import CLibUV
import Glibc

/// One process of this machine, and no other that gets its number later: the number comes again, together
/// with the time of the start it does not.
package struct ProcessIdentity: Hashable, Sendable {
    package let processID: Int32
    /// Of its socket: a process that changes it is another one.
    package let userID: UInt32
    /// In clock ticks since the machine started; 0: it could not be read, and it is not known for sure that two
    /// are the same.
    package let startTime: UInt64

    package init(processID: Int32, userID: UInt32, startTime: UInt64) {
        self.processID = processID
        self.userID = userID
        self.startTime = startTime
    }

    package var isCertain: Bool { startTime != 0 }
}

extension ProcessIdentity {
    /// When the process of this number started, which need not be the one that is meant. Nil: there is none, or
    /// /proc hides it. Waits for nothing.
    package static func startTime(of processID: Int32) -> UInt64? {
        let descriptor = unsafe open("/proc/\(processID)/stat", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { Descriptor.close(descriptor) }
        let text = unsafe [UInt8](unsafeUninitializedCapacity: statLength) { space, count in
            // SAFETY: the kernel writes at most `statLength` bytes; the file comes in one piece.
            count = unsafe max(0, Glibc.read(descriptor, space.baseAddress, space.count))
        }
        return startTime(inStat: text)
    }

    /// Field 22 of /proc/PID/stat. The second is the program's name, which may hold blanks and parentheses.
    static func startTime(inStat text: [UInt8]) -> UInt64? {
        guard let name = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = text[(name + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > startField - 3 else { return nil }
        return UInt64(String(decoding: fields[startField - 3], as: UTF8.self))
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
}
