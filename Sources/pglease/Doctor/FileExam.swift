// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import OperatorTools

/// Who can read the files that hold secrets, and whether the broker can.
struct FileExam {
    private static let topic = "files"
    private(set) var findings: [Finding] = []

    init(_ exam: ConfigurationExam, runsAs process: BrokerProcessFacts?) {
        guard let loaded = exam.loaded else { return }
        let settings = loaded.configuration.settings
        var secret: [(name: String, path: String)] = []
        func add(_ name: String, _ path: String?) {
            guard let path, !secret.contains(where: { $0.path == path }) else { return }
            secret.append((name, path))
        }
        add("auth_file", settings.authFile)
        add("client_tls_key_file", settings.clientTlsKeyFile)
        add("server_tls_key_file", settings.serverTlsKeyFile)
        add("password_file", settings.passwordFile)
        for entry in loaded.configuration.databases { add("password_file", entry.passwordFile) }
        for entry in loaded.configuration.users { add("password_file", entry.passwordFile) }
        if loaded.configuration.databases.contains(where: { $0.password != nil }) {
            add("the configuration", exam.file)
        }
        let before = findings.count
        for (name, path) in secret { look(at: path, name, process, isSecret: true) }
        // What is no secret has to be read at the next RELOAD all the same.
        for path in loaded.files where !secret.contains(where: { $0.path == path }) {
            look(at: path, "the configuration", process, isSecret: false)
        }
        if findings.count == before, !secret.isEmpty {
            let names = secret.map(\.path).joined(separator: ", ")
            findings.append(.ok(Self.topic, "secrets are closed to others: \(names)"))
        }
    }

    private mutating func look(
        at path: String, _ name: String, _ process: BrokerProcessFacts?, isSecret: Bool
    ) {
        guard let facts = FileFacts(path) else {
            findings.append(
                .wrong(
                    Self.topic, "\(name) \(path) is not there, or its folder is closed",
                    do: "make it, readable for the broker's user"))
            return
        }
        if let process, !facts.isReadable(by: process) {
            findings.append(
                .wrong(
                    Self.topic,
                    "\(name) \(path) cannot be read by \(process.shownUser) (mode \(facts.shownRights))",
                    do: "chgrp it to the broker's group, and chmod 0640: else the next RELOAD fails"
                ))
        }
        if isSecret, facts.mode & 0o004 != 0 {
            findings.append(
                .warning(
                    Self.topic,
                    "\(name) \(path) holds secrets, and everybody can read it (mode \(facts.shownRights))",
                    do: "chmod 0640 \(path), with root as its owner and the broker's group"))
        }
        if facts.mode & 0o002 != 0 {
            findings.append(
                .wrong(
                    Self.topic,
                    "\(name) \(path) can be changed by everybody (mode \(facts.shownRights))",
                    do: "chmod o-w \(path)"))
        }
    }
}
