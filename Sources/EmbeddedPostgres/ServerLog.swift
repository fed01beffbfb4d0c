// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The file that the private PostgreSQL writes its log to: begun anew when large, one kept.
enum ServerLog {
    private static let maximumLength = 10 << 20

    static func open(_ folder: StateFolder) throws(EmbeddedPostgresError) -> Int32 {
        var status = stat()
        if lstat(folder.logPath, &status) == 0, status.st_size > maximumLength {
            rename(folder.logPath, "\(folder.logPath).1")
        }
        let descriptor = Glibc.open(
            folder.logPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw .stateFolder(
                path: folder.path,
                reason: "open postgresql.log: \(String(cString: strerror(errno)))")
        }
        return descriptor
    }
}
