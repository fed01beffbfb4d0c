// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import Testing

@testable import Broker

@Suite("Files that a configuration is read from")
struct FileSystemTests {
    @Test func filesOfTheDisk() throws {
        #expect(throws: FileReadError("No such file or directory")) {
            try FileSystem.readBytes("/nonexistent/pglease.ini")
        }
        #expect(throws: FileReadError("Is a directory")) { try FileSystem.readBytes("/") }
        #expect(throws: FileReadError("the file is larger than 16 MiB")) {
            try FileSystem.readBytes("/dev/zero")
        }
        #expect(try FileSystem.readBytes("/dev/null").isEmpty)
    }

    @Test("A folder for the socket exists and can be written, or its parent can")
    func folders() {
        #expect(FileSystem.canUseFolder("/tmp"))
        #expect(FileSystem.canUseFolder("/tmp/pglease-of-nobody"))
        #expect(!FileSystem.canUseFolder("/nonexistent/pglease"))
        #expect(!FileSystem.canUseFolder("pglease"))
    }
}
