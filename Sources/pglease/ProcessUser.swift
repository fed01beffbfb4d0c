// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc

/// The user that the process runs as: `user`, and `-u`.
enum ProcessUser {
    /// Becomes a user, with its groups. Of use to root only; somebody else may name itself.
    static func become(_ name: String?) throws {
        guard let name else { return }
        guard let entry = getpwnam(name) else {
            Output.error("pglease: user: there is no user \"\(name)\" in this system")
            throw ExitCode(ExitStatus.configuration)
        }
        let (user, group) = (entry.pointee.pw_uid, entry.pointee.pw_gid)
        let home = String(cString: entry.pointee.pw_dir)
        if geteuid() == user, getuid() == user { return }
        guard geteuid() == 0 else {
            Output.error(
                "pglease: user: only root can become user \"\(name)\": start it as root or as that user"
            )
            throw ExitCode(ExitStatus.noPermission)
        }
        guard initgroups(name, group) == 0, setgid(group) == 0, setuid(user) == 0, setuid(0) != 0
        else {
            Output.error(
                "pglease: user: failed to assume identity of user '\(name)': \(String(cString: strerror(errno)))"
            )
            throw ExitCode(ExitStatus.noPermission)
        }
        // libpq looks there, and may not look into root's.
        guard setenv("HOME", home, 1) == 0 else { throw ExitCode(ExitStatus.noPermission) }
    }
}
