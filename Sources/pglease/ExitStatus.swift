// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import EmbeddedPostgres

/// The exit statuses, those of sysexits(3), in one place.
enum ExitStatus {
    static let unavailable: Int32 = 69
    static let operatingSystem: Int32 = 71
    static let cannotCreate: Int32 = 73
    static let noPermission: Int32 = 77
    static let configuration: Int32 = 78

    /// What the help prints.
    static let table = """
        EXIT STATUS
          0   ended as told; check-config: the configuration is good
          64  wrong options
          69  PostgreSQL not reached at the start; --embedded: not started, or ended
          71  the operating system refused something that pglease needs
          73  a socket or the state folder cannot be made, or is in use
          77  permission denied
          78  the configuration is wrong: each error by file, line and reason
          ping: 0 ready, 1 not ready, 2 no broker answers, 3 wrong options
          stat, leases, top: 0 shown or done, 1 refused, 2 no broker answers, 3 wrong options
          doctor: 0 nothing wrong, 1 something doubtful, 2 something wrong, 3 wrong options
        """

    static func of(_ error: EmbeddedPostgresError) -> Int32 {
        switch error {
        case .programsNotFound, .launcherNotFound, .versionMismatch, .startFailed, .setUpFailed,
            .commandFailed:
            unavailable
        case .stateFolder, .inUse: cannotCreate
        case .noServerAccount: noPermission
        case .spawnFailed: operatingSystem
        }
    }
}
