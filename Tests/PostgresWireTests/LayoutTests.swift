// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// One name, one thing: no file and no type of the sources has the name of another.
@Suite("Layout") struct LayoutTests {
    private static let sources = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Sources").resolvingSymlinksInPath()

    private static let files: [URL] = {
        let all = FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil)
        return all?.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" } ?? []
    }()

    private static let modifiers: Set<Substring> = [
        "public", "package", "internal", "final", "indirect",
    ]
    private static let kinds: Set<Substring> = ["class", "struct", "enum", "protocol", "actor"]

    /// The types at the top of a file that other files see.
    private static func types(in text: String) -> [String] {
        text.split(whereSeparator: \.isNewline).compactMap { line in
            // What is indented lies in another type, whose name it shares.
            guard let first = line.first, first != " " else { return nil }
            var words = line.split(whereSeparator: \.isWhitespace)[...]
            while let word = words.first, modifiers.contains(word) || word.hasPrefix("@") {
                words = words.dropFirst()
            }
            guard let kind = words.popFirst(), kinds.contains(kind) else { return nil }
            return words.first.map { String($0.prefix { $0.isLetter || $0.isNumber }) }
        }
    }

    private static func repeated(_ names: [String]) -> [String] {
        var counts: [String: Int] = [:]
        for name in names { counts[name, default: 0] += 1 }
        return counts.filter { $0.value > 1 }.map(\.key).sorted()
    }

    @Test func theReadingOfTypesFindsThem() {
        let text = """
            package final class A: B {
                struct Inner {}
            }
            private struct Own {}
            @frozen public struct C<D> {
            extension E {}
            indirect enum F { case g }
            """
        #expect(Self.types(in: text) == ["A", "C", "F"])
        #expect(Self.repeated(["a", "b", "a"]) == ["a"])
    }

    @Test func noFileNameIsUsedTwice() {
        #expect(Self.files.count > 300)
        #expect(Self.repeated(Self.files.map(\.lastPathComponent)).isEmpty)
    }

    @Test func noTypeNameIsUsedTwice() throws {
        let types = try Self.files.flatMap {
            Self.types(in: try String(contentsOf: $0, encoding: .utf8))
        }
        #expect(types.count > 500)
        #expect(Self.repeated(types).isEmpty)
    }

    /// A debug build of 6.3.1 copies what a `_read` yields into the coroutine's frame if it cannot be copied, and
    /// reads it there when the frame is freed. Addressors (`unsafeAddress`) have no frame.
    @Test func nothingYieldsWhatCannotBeCopied() throws {
        // What these yield can be copied.
        let known: Set<String> = ["Fence.swift", "PoolTable.swift"]
        let yielding = try Self.files.filter {
            try String(contentsOf: $0, encoding: .utf8).contains("_read {")
        }
        #expect(Set(yielding.map(\.lastPathComponent)).isSubset(of: known))
    }
}
