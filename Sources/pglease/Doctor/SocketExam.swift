// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import Glibc
import OperatorTools

/// The folder and the file of the Unix socket: whether workers can come in.
struct SocketExam {
    private static let topic = "socket"
    private(set) var findings: [Finding] = []

    init(_ loaded: LoadedConfiguration, _ broker: BrokerExam) {
        let settings = loaded.configuration.settings
        // Where it chose its folder by what it may write, the place that answered tells.
        let chosen = loaded.origins["unix_socket_dir"] == nil ? broker.place?.host : nil
        guard
            let folder = chosen.flatMap({ $0.hasPrefix("/") ? $0 : nil }) ?? settings.unixSocketDir
        else {
            findings.append(.ok(Self.topic, "there is none: clients come over TCP"))
            return
        }
        guard folder.hasPrefix("/") else {
            findings.append(.ok(Self.topic, "\(folder) is abstract: it has no rights of its own"))
            return
        }
        look(at: folder, settings)
        look(
            at: "\(folder)/.s.PGSQL.\(settings.listenPort)", settings, isAlive: broker.place != nil)
        if settings.authType == .trust, settings.unixSocketMode & 0o002 != 0 {
            findings.append(
                .warning(
                    Self.topic, "auth_type is trust, and everybody on this host may connect",
                    do: "unix_socket_mode = 0770 with unix_socket_group, or auth_type = peer"))
        }
        if findings.isEmpty {
            let state = broker.place == nil ? "" : ", and the socket is open to clients"
            findings.append(.ok(Self.topic, "\(folder) can be entered\(state)"))
        }
    }

    private mutating func look(at folder: String, _ settings: Settings) {
        guard let facts = FileFacts(folder) else {
            findings.append(
                .wrong(
                    Self.topic, "the folder \(folder) is not there, or one above it is closed",
                    do: "make it for the broker's user, mode 0755 (systemd: RuntimeDirectory=)"))
            return
        }
        guard facts.isFolder else {
            findings.append(
                .wrong(Self.topic, "\(folder) is no folder", do: "correct unix_socket_dir"))
            return
        }
        if settings.unixSocketMode & 0o002 != 0, facts.mode & 0o001 == 0 {
            findings.append(
                .warning(
                    Self.topic,
                    "workers of other users cannot enter \(folder) (mode \(facts.shownRights))",
                    do: "chmod 0755 \(folder), or RuntimeDirectoryMode=0755"))
        }
        if facts.mode & 0o002 != 0, facts.mode & 0o1000 == 0 {
            findings.append(
                .wrong(
                    Self.topic,
                    "everybody can replace the socket in \(folder) (mode \(facts.shownRights))",
                    do: "chmod 0755 \(folder)"))
        }
    }

    private mutating func look(at path: String, _ settings: Settings, isAlive: Bool) {
        guard let facts = FileFacts(path) else {
            if isAlive {
                findings.append(
                    .wrong(
                        Self.topic, "\(path) is not there, and a broker answers elsewhere",
                        do:
                            "compare unix_socket_dir and listen_port with those of the running broker"
                    ))
            }
            return
        }
        guard facts.isSocket else {
            findings.append(
                .wrong(
                    Self.topic, "\(path) is no socket: the broker cannot start",
                    do: "move that file away"))
            return
        }
        guard isAlive else {
            findings.append(
                .wrong(
                    Self.topic,
                    "\(path) was left by a broker that is gone: clients get \"connection refused\"",
                    do: "start the broker: it takes the place of a socket that nobody listens on"))
            return
        }
        if facts.rights & 0o777 != settings.unixSocketMode {
            let wanted = "0" + String(settings.unixSocketMode, radix: 8)
            findings.append(
                .warning(
                    Self.topic,
                    "\(path) has mode \(facts.shownRights), unix_socket_mode is \(wanted)",
                    do: "restart the broker; SocketMode= of pglease.socket where systemd makes it"))
        }
        if let name = settings.unixSocketGroup, getgrnam(name)?.pointee.gr_gid != facts.groupID {
            findings.append(
                .warning(
                    Self.topic, "\(path) is not of the group \(name) (unix_socket_group)",
                    do: "restart the broker; SocketGroup= of pglease.socket where systemd makes it")
            )
        }
    }
}
