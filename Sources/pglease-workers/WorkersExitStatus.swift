// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LeaseClient
import Workers

/// The exit statuses, those of sysexits(3) as far as it has them, in one place.
enum WorkersExitStatus {
    /// Jobs that this process ran have failed (`backfill --once`).
    static let jobsFailed = ExitCode(1)
    static let unavailable = ExitCode(69)
    static let software = ExitCode(70)
    static let configuration = ExitCode(78)

    /// What the help prints.
    static let table = """
        EXIT STATUS
          0   ended as told; after SIGTERM or SIGINT too, once unfinished work is given back
          1   backfill --once: a job failed, or could not be finished
          64  wrong options
          69  the broker or the config database cannot be reached
          70  the config database refused a statement
          78  the address, the credentials or a variable of the environment are wrong
        """

    static func of(_ error: any Error) -> ExitCode {
        if error is CredentialKeyError { return configuration }
        guard let error = error as? LeaseError else { return software }
        switch error.code {
        case .exhausted, .poolLock, .revoked, .serverLost, .serverUnreachable, .brokerAway:
            return unavailable
        case .refused, .notABroker, .configuration: return configuration
        default: return software
        }
    }
}
