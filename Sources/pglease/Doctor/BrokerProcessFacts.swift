// SPDX-License-Identifier: Apache-2.0

import Broker
import EmbeddedPostgres
import Glibc
import LibUV
import PostgresProbe

/// What /proc shows of the process that listens on a broker's Unix socket.
struct BrokerProcessFacts {
    let processID: Int32
    let userID: uid_t
    let groupIDs: Set<gid_t>
    /// "Max open files"; nil: it cannot be seen, or is without a limit.
    let openFiles: Int?
    /// The program on the disk is another one than the one that runs.
    let isReplacedOnDisk: Bool
    let seccomp: String?

    /// nil: nobody listens there, or its process is in another PID namespace.
    init?(listeningOn path: String) {
        guard let processID = Self.lockHolder(path) ?? Self.listener(path),
            let status = Self.text("/proc/\(processID)/status")
        else { return nil }
        var fields: [Substring: [Substring]] = [:]
        for line in status.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 {
                fields[parts[0]] = parts[1].split { $0 == "\t" || $0 == " " }
            }
        }
        // The second is the effective one.
        guard let users = fields["Uid"], users.count > 1, let user = uid_t(users[1]) else {
            return nil
        }
        self.processID = processID
        userID = user
        groupIDs = Set(
            (fields["Groups"] ?? []).compactMap { gid_t($0) }
                + (fields["Gid"] ?? []).dropFirst().prefix(1).compactMap { gid_t($0) })
        seccomp = fields["Seccomp"]?.first.map(String.init)
        openFiles = Self.openFiles(processID)
        isReplacedOnDisk = Self.link("/proc/\(processID)/exe")?.hasSuffix(" (deleted)") == true
    }

    var account: String? { UserAccount(userID: userID)?.name }
    var shownUser: String { account.map { "user \($0)" } ?? "uid \(userID)" }

    /// The broker writes its number into the lock beside its socket; systemd may have made the socket itself.
    private static func lockHolder(_ path: String) -> Int32? {
        guard !path.hasPrefix("@"), let text = text("\(path).lock"),
            let number = Int32(text.prefix { $0.isNumber }),
            Self.text("/proc/\(number)/comm")?.hasPrefix("pglease") == true
        else { return nil }
        return number
    }

    private static func listener(_ path: String) -> Int32? {
        guard let address = UnixSocketAddress(path) else { return nil }
        let descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        guard address.connect(descriptor) == 0,
            let peer = PeerCredentials(descriptor: descriptor), peer.processID > 1
        else { return nil }
        return peer.processID
    }

    private static func openFiles(_ processID: Int32) -> Int? {
        let lines = text("/proc/\(processID)/limits")?.split(separator: "\n") ?? []
        guard let line = lines.first(where: { $0.hasPrefix("Max open files") }) else { return nil }
        return line.dropFirst("Max open files".count).split(separator: " ").first.flatMap {
            Int($0)
        }
    }

    private static func text(_ path: String) -> String? {
        (try? FileSystem.readBytes(path)).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func link(_ path: String) -> String? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = bytes.withUnsafeMutableBytes { buffer in
            readlink(path, buffer.baseAddress!.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}
