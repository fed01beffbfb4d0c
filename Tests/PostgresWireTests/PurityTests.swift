// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Keeps the pure modules pure and C in the modules that wrap it, by reading what every source
/// imports.
@Suite("Imports")
struct PurityTests {
    private struct Import: Hashable, CustomStringConvertible {
        var module: String
        var file: String
        var description: String { "import \(module) in \(file)" }
    }

    private static let sources = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Sources").resolvingSymlinksInPath()

    /// The modules imported by the Swift files below a folder of Sources; none when it is not
    /// there.
    private static func imports(below folder: String) throws -> [Import] {
        let root = sources.appendingPathComponent(folder).resolvingSymlinksInPath()
        guard let files = FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil)
        else { return [] }
        var found: [Import] = []
        for case let file as URL in files where file.pathExtension == "swift" {
            let text = try String(contentsOf: file, encoding: .utf8)
            found += modules(importedBy: text).map {
                Import(module: $0, file: "\(folder)/\(file.lastPathComponent)")
            }
        }
        return found
    }

    /// Reads lines such as `@testable package import struct Module.Name`.
    private static func modules(importedBy text: String) -> [String] {
        let kinds: Set<Substring> = [
            "struct", "class", "enum", "protocol", "typealias", "func", "let", "var", "actor",
        ]
        return text.split(whereSeparator: \.isNewline).compactMap { line in
            let code = line.prefix { $0 != ";" }
            let words = code.split(whereSeparator: \.isWhitespace)
            guard let index = words.firstIndex(of: "import"), index + 1 < words.count else {
                return nil
            }
            let isStatement = words[..<index].allSatisfy {
                $0.hasPrefix("@")
                    || ["package", "public", "internal", "private", "fileprivate", "unsafe"]
                        .contains($0)
            }
            guard isStatement else { return nil }
            let next = words[index + 1]
            let name = kinds.contains(next) && index + 2 < words.count ? words[index + 2] : next
            return name.split(separator: ".").first.map(String.init)
        }
    }

    @Test("The reading of imports finds each form of them")
    func reading() {
        let text = """
            import A
            package import B
            @preconcurrency private import C.D
              import struct E.F
            // import G
            let text = "import H"
            @_exported import func I.j
            """
        #expect(Self.modules(importedBy: text) == ["A", "B", "C", "E", "I"])
    }

    @Test(
        "Pure modules import nothing but pure ones",
        arguments: [
            ("PostgresWire", ["Swift"]),
            ("LeaseCore", ["Swift", "PostgresWire", "DequeModule", "HeapModule"]),
            ("BrokerAuthentication", ["Swift", "PostgresWire"]),
            ("BrokerConfiguration", ["Swift", "PostgresWire"]),
            ("BrokerConsole", ["Swift", "PostgresWire", "LeaseCore"]),
            ("OperatorTools", ["Swift"]),
        ] as [(String, Set<String>)])
    func pure(folder: String, allowed: Set<String>) throws {
        let forbidden = try Self.imports(below: folder).filter { !allowed.contains($0.module) }
        #expect(forbidden.isEmpty)
    }

    @Test("The folder of the sources is found")
    func folder() throws {
        let wire = Self.sources.appendingPathComponent("PostgresWire/MessageHeader.swift")
        #expect(FileManager.default.fileExists(atPath: wire.path))
    }

    @Test("C is imported only where it is wrapped")
    func wrappers() throws {
        let owners: [String: Set<String>] = [
            "CLibUV": ["LibUV"], "CLibPQ": ["LibPQ"], "CPAM": ["LibPAM"],
            "CLDAP": ["LibLDAP"],
            "COpenSSL": ["LibPQ", "LibSSL"],
            "CMicroHTTPD": ["StatusHTTP"],
        ]
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.sources.path)
        for folder in folders.sorted() {
            let misplaced = try Self.imports(below: folder).filter {
                owners[$0.module].map { !$0.contains(folder) } ?? false
            }
            #expect(misplaced.isEmpty)
        }
    }
}
