// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConfiguration

private typealias Fixture = ConfigurationFixture

@Suite struct ConfigurationReaderTests {
    private func read(_ files: [String: String]) -> ConfigurationReader {
        var reader = ConfigurationReader { path throws(FileReadError) in
            guard let text = files[path] else { throw FileReadError("No such file") }
            return Array(text.utf8)
        }
        reader.read("a.ini")
        return reader
    }

    private func shown(_ reader: ConfigurationReader) -> [String] {
        reader.lines.map { "\($0.origin) [\($0.section)] \($0.key)=\($0.value)" }
    }

    @Test func linesAsPgbouncerReadsThem() {
        let reader = read([
            "a.ini": """
            \u{FEFF}; comment
               # comment

            [one]\r
            plain = a value ; with a semicolon \r
              indented=x
            empty =
            equals = a=b
            "quoted ""name\""" = y
            [ two ]
            * = z
            """
        ])
        #expect(reader.issues.isEmpty)
        #expect(
            shown(reader) == [
                "a.ini:5 [one] plain=a value ; with a semicolon", "a.ini:6 [one] indented=x",
                "a.ini:7 [one] empty=", "a.ini:8 [one] equals=a=b",
                "a.ini:9 [one] quoted \"name\"=y", "a.ini:11 [two] *=z",
            ])
        #expect(reader.sections.map(\.name) == ["one", "two"])
    }

    @Test func emptyFile() {
        #expect(read(["a.ini": ""]).lines.isEmpty)
        #expect(read(["a.ini": ""]).issues.isEmpty)
    }

    @Test func includesContinueTheSection() {
        let reader = read([
            "a.ini": "[one]\n%include b.ini\nz = 1\n",
            "b.ini": "x = 1\n[two]\ny = 1\n",
        ])
        #expect(
            shown(reader) == ["b.ini:1 [one] x=1", "b.ini:3 [two] y=1", "a.ini:3 [two] z=1"])
        #expect(reader.files == ["a.ini", "b.ini"])
    }

    @Test func includesAreFoundBesideTheirFile() throws {
        var reader = ConfigurationReader { path throws(FileReadError) in
            switch path {
            case "/etc/a.ini": return Array("[s]\n%include b.ini\n".utf8)
            case "/etc/b.ini": return Array("k = v\n".utf8)
            default: throw FileReadError("No such file")
            }
        }
        reader.read("/etc/a.ini")
        #expect(shown(reader) == ["/etc/b.ini:1 [s] k=v"])
    }

    @Test func sameFileTwiceIsNoCircle() {
        let reader = read(["a.ini": "[s]\n%include b.ini\n%include b.ini\n", "b.ini": "k = v\n"])
        #expect(reader.issues.isEmpty)
        #expect(reader.lines.count == 2)
    }

    @Test func circlesAreNamed() {
        let reader = read([
            "a.ini": "%include b.ini\n", "b.ini": "\n%include c.ini\n", "c.ini": "%include b.ini\n",
        ])
        #expect(
            reader.issues.map(\.description) == [
                "c.ini:1: %include goes in a circle: b.ini -> c.ini -> b.ini"
            ])
    }

    @Test func depthIsLimited() {
        var files: [String: String] = ["a.ini": "%include 1.ini\n"]
        for depth in 1...20 { files["\(depth).ini"] = "%include \(depth + 1).ini\n" }
        let reader = read(files)
        #expect(
            reader.issues.map(\.description) == [
                "10.ini:1: %include is nested deeper than 10 files"
            ])
    }

    @Test func repeatedKeysAreWarnedAbout() throws {
        let loaded = try Fixture.load(
            """
            [databases]
            a = host=x
            a = host=y
            [pglease]
            listen_port = 1
            listen_port = 2
            [databases]
            b =
            [users]
            u = pool_size=1
            u = pool_size=2
            """)
        #expect(loaded.configuration.settings.listenPort == 2)
        #expect(loaded.configuration.databases.map(\.name) == ["a", "b"])
        #expect(loaded.configuration.databases[0].serverParameter("host") == "y")
        #expect(loaded.configuration.users.map(\.poolSize) == [.value(2)])
        #expect(
            loaded.warnings.map(\.description) == [
                "pglease.ini:3: databases.a: is given again; the line of pglease.ini:2 is not used",
                "pglease.ini:6: listen_port: is set again; the value of pglease.ini:5 is not used",
                "pglease.ini:11: users.u: is given again; the line of pglease.ini:10 is not used",
            ])
    }
}
