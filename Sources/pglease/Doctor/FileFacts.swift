// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Owner and rights of a file (stat).
struct FileFacts {
    let mode: mode_t
    let userID: uid_t
    let groupID: gid_t

    /// nil: there is none, or a folder on the way is closed.
    init?(_ path: String) {
        var facts = stat()
        guard stat(path, &facts) == 0 else { return nil }
        mode = facts.st_mode
        userID = facts.st_uid
        groupID = facts.st_gid
    }

    var isSocket: Bool { mode & S_IFMT == S_IFSOCK }
    var isFolder: Bool { mode & S_IFMT == S_IFDIR }
    var rights: Int { Int(mode & 0o7777) }
    var shownRights: String { "0" + String(rights, radix: 8) }

    /// Whether a process may read it, by mode, owner and group.
    func isReadable(by process: BrokerProcessFacts) -> Bool {
        if process.userID == 0 { return true }
        if process.userID == userID { return mode & S_IRUSR != 0 }
        if process.groupIDs.contains(groupID) { return mode & S_IRGRP != 0 }
        return mode & S_IROTH != 0
    }
}
