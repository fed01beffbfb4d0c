// SPDX-License-Identifier: Apache-2.0

import LibUV

/// What /proc says about a process.
struct ProcessFacts: Equatable, Sendable {
    /// What the kernel calls it.
    var name: String?
    /// The same in full, if the command line has more of it.
    var program: String?
    var arguments: String?

    /// Reading a command line waits while the process changes its own memory map: on a worker thread only.
    /// nil: it is gone, or it may not be looked at.
    static func read(_ process: ProcessIdentity) -> ProcessFacts? {
        let facts = read(process.processID)
        // Another one may have the number by now.
        return process.isStillThere || !process.isCertain ? facts : nil
    }

    static func read(_ processID: Int32) -> ProcessFacts? {
        guard let commandLine = commandLine(of: processID) else { return nil }
        let name = name(of: processID)
        return ProcessFacts(
            name: name, program: fullName(name, commandLine),
            arguments: ProcessArguments.shown(commandLine))
    }

    /// Waits for nothing: the kernel has it at hand. nil: there is none, or it is hidden.
    static func name(of processID: Int32) -> String? {
        guard let text = FileSystem.head("/proc/\(processID)/comm", bytes: 64) else { return nil }
        return plain(text.split(separator: "\n").first ?? "")
    }

    private static func commandLine(of processID: Int32) -> String? {
        guard let text = FileSystem.head("/proc/\(processID)/cmdline", bytes: bytesRead) else {
            return nil
        }
        guard text.utf8.count >= bytesRead, let end = text.lastIndex(of: "\0") else { return text }
        // Half an argument may be half a secret.
        return String(text[...end])
    }

    private static let bytesRead = 4096

    /// The kernel's name is cut after 15 bytes.
    private static func fullName(_ name: String?, _ commandLine: String) -> String? {
        guard let name, name.utf8.count == 15 else { return name }
        let path = commandLine.prefix { $0 != "\0" && $0 != " " }
        let last = plain(path.split(separator: "/").last ?? "")
        return last?.hasPrefix(name) == true ? last : name
    }

    /// As PostgreSQL takes it for an application_name: printable ASCII.
    private static func plain(_ text: Substring) -> String? {
        let shown = text.unicodeScalars.map { " " <= $0 && $0 <= "~" ? Character($0) : "?" }
        return shown.isEmpty ? nil : String(shown)
    }
}
