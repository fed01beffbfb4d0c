// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Certificates that the `openssl` program makes in a folder of their own.
final class Certificates {
    let folder: String

    init() throws {
        folder = NSTemporaryDirectory() + "pglease-ssl-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        try makeAuthority("ca")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    func makeAuthority(_ name: String) throws {
        try run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", "/CN=\(name)", "-keyout", "\(name).key", "-out", "\(name).crt")
    }

    /// Signed by an authority; `days` below 0 has it end in the past.
    func make(
        _ name: String, subject: String, by authority: String = "ca",
        key: [String] = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], days: Int = 2
    ) throws {
        try run(
            ["req", "-newkey"] + key + [
                "-nodes", "-utf8", "-subj", subject, "-keyout", "\(name).key", "-out",
                "\(name).csr",
            ])
        try run(
            "x509", "-req", "-in", "\(name).csr", "-CA", "\(authority).crt", "-CAkey",
            "\(authority).key", "-CAcreateserial", "-days", "\(days)", "-out", "\(name).crt")
    }

    @discardableResult
    func run(_ words: String...) throws -> Data { try run(words) }

    @discardableResult
    func run(_ words: [String]) throws -> Data {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + words
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        if process.terminationStatus != 0 { throw Failure(words: words) }
        return data
    }

    struct Failure: Error { let words: [String] }
}
