// SPDX-License-Identifier: Apache-2.0

/// Why there is no private PostgreSQL; each says what to do.
package enum EmbeddedPostgresError: Error, Equatable, CustomStringConvertible {
    case programsNotFound(searched: [String])
    case versionMismatch(data: Int, folder: String, found: [String])
    case stateFolder(path: String, reason: String)
    case inUse(path: String, processID: String)
    case noServerAccount
    case launcherNotFound
    case spawnFailed(program: String, reason: String)
    case commandFailed(program: String, status: String, output: String)
    case startFailed(reason: String, logPath: String, logTail: String)
    case setUpFailed(reason: String)

    package var description: String {
        switch self {
        case .programsNotFound(let searched):
            "no PostgreSQL server programs (initdb, postgres) found in \(list(searched)): install "
                + "PostgreSQL (Debian: apt-get install postgresql), or name the folder of its "
                + "programs in PGLEASE_POSTGRES_BIN"
        case .versionMismatch(let data, let folder, let found):
            "the data in \(folder) is of PostgreSQL \(data), but only \(list(found)) is here: "
                + "install PostgreSQL \(data), or choose another PGLEASE_STATE_DIR"
        case .stateFolder(let path, let reason):
            "the state folder \(path) cannot be used: \(reason); choose another with "
                + "PGLEASE_STATE_DIR"
        case .inUse(let path, let processID):
            "the state folder \(path) is in use by pglease with process id \(processID): stop it, "
                + "or choose another PGLEASE_STATE_DIR"
        case .noServerAccount:
            "PostgreSQL does not run as root, and there is neither a user postgres nor a user "
                + "nobody: start pglease as an ordinary user"
        case .launcherNotFound:
            "setpriv is not installed: it ties PostgreSQL's life to pglease's (Debian: apt-get "
                + "install util-linux)"
        case .spawnFailed(let program, let reason):
            "\(program) cannot be started: \(reason)"
        case .commandFailed(let program, let status, let output):
            "\(program) failed (\(status)): \(output)"
        case .startFailed(let reason, let logPath, let logTail):
            "the private PostgreSQL did not start: \(reason). The end of \(logPath):\n\(logTail)"
        case .setUpFailed(let reason):
            "the private PostgreSQL runs, but its roles could not be made: \(reason)"
        }
    }

    private func list(_ items: [String]) -> String {
        items.isEmpty ? "any folder" : items.joined(separator: ", ")
    }
}
