// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc

/// The file of `pidfile`: it names the process as long as that runs.
struct PidFile {
    /// nil: none is written.
    private let path: String?
    /// It names the broker whose place this one takes, until it has taken it.
    private let isReplaced: Bool

    /// Refuses to go on while the process that the file names runs, unless its place is taken; a file that a process left
    /// behind goes.
    init(_ path: String?, isReplaced: Bool = false) throws {
        self.path = path
        self.isReplaced = isReplaced
        guard let path, !isReplaced else { return }
        guard let process = Self.process(in: path) else {
            guard errno == ENOENT else { throw Self.refuse("could not open pidfile", path) }
            return
        }
        // A container's first process has the number of the one before it.
        let hasEnded =
            process > 0 && (process == getpid() || (kill(process, 0) != 0 && errno == ESRCH))
        guard hasEnded else {
            Output.error("pglease: pidfile '\(path)' exists, another instance running?")
            throw ExitCode(ExitStatus.cannotCreate)
        }
        try Self.removeStale(path)
    }

    private static func removeStale(_ path: String) throws {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw refuse("could not remove stale pidfile", path)
        }
    }

    /// Writes the process's number. Two that start at once do not both get it.
    func write() throws {
        guard let path, !isReplaced else { return }
        try Self.create(path)
    }

    /// The other's place is taken: in one step the file names this process.
    func replace() throws {
        guard let path, isReplaced else { return }
        let next = "\(path).\(getpid())"
        unlink(next)
        try Self.create(next)
        guard rename(next, path) == 0 else {
            let refusal = Self.refuse("could not replace pidfile", path)
            unlink(next)
            throw refusal
        }
    }

    private static func create(_ path: String) throws {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
        let descriptor = open(path, flags, 0o644)
        guard descriptor >= 0 else { throw refuse("could not open pidfile", path) }
        defer { close(descriptor) }
        let text = "\(getpid())\n"
        guard Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count else {
            throw refuse("could not write pidfile", path)
        }
    }

    /// Unless it names another process by now.
    func remove() {
        if let path, Self.process(in: path) == getpid() { unlink(path) }
    }

    /// nil: there is no file, or it cannot be read; 0: it names none.
    private static func process(in path: String) -> Int32? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 128)
        let count = read(descriptor, &bytes, bytes.count)
        guard count >= 0 else { return nil }
        let text = String(
            decoding: bytes[..<count].prefix { (48...57).contains($0) }, as: UTF8.self)
        return Int32(text) ?? 0
    }

    private static func refuse(_ what: String, _ path: String) -> ExitCode {
        Output.error("pglease: \(what) '\(path)': \(String(cString: strerror(errno)))")
        return ExitCode(ExitStatus.cannotCreate)
    }
}
