// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What `postmaster.pid` says: which process serves the data, and how far it is.
struct PostmasterFile: Equatable {
    var processID: pid_t
    var isReady: Bool

    /// Nil when there is none, or it is not complete yet.
    init?(dataPath: String) {
        guard let text = TextFile.read("\(dataPath)/postmaster.pid") else { return nil }
        self.init(parsing: text)
    }

    /// Line 1 is the process id, line 8 the state (since PostgreSQL 10).
    init?(parsing text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let first = lines.first, let number = pid_t(first), number > 0 else { return nil }
        processID = number
        isReady = lines.count > 7 && lines[7].hasPrefix("ready")
    }

    /// Whether that process lives and serves this data. A process id is soon given to another: the
    /// server's working folder is its data.
    func isServing(dataPath: String) -> Bool {
        guard kill(processID, 0) == 0 || errno == EPERM else { return false }
        guard let target = realpath("/proc/\(processID)/cwd", nil) else { return false }
        defer { free(target) }
        guard let data = realpath(dataPath, nil) else { return false }
        defer { free(data) }
        return strcmp(target, data) == 0
    }
}
