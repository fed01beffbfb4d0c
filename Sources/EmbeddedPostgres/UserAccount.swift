// SPDX-License-Identifier: Apache-2.0

import Glibc

/// One entry of the system's user database.
package struct UserAccount: Equatable, Sendable {
    package var name: String
    package var userID: UInt32
    package var groupID: UInt32
    package var home: String

    package init(name: String, userID: UInt32, groupID: UInt32, home: String) {
        self.name = name
        self.userID = userID
        self.groupID = groupID
        self.home = home
    }

    package init?(named name: String) {
        self.init { entry, buffer, result in
            getpwnam_r(name, entry, buffer.baseAddress!, buffer.count, result)
        }
    }

    package init?(userID: UInt32) {
        self.init { entry, buffer, result in
            getpwuid_r(userID, entry, buffer.baseAddress!, buffer.count, result)
        }
    }

    /// The account that this process acts as.
    package static var current: UserAccount? { UserAccount(userID: geteuid()) }

    private init?(
        lookUp: (
            UnsafeMutablePointer<passwd>, UnsafeMutableBufferPointer<CChar>,
            UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
        ) -> Int32
    ) {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16_384)
        let account: UserAccount? = buffer.withUnsafeMutableBufferPointer { buffer in
            guard lookUp(&entry, buffer, &found) == 0, let found else { return nil }
            return UserAccount(
                name: String(cString: found.pointee.pw_name), userID: found.pointee.pw_uid,
                groupID: found.pointee.pw_gid, home: String(cString: found.pointee.pw_dir))
        }
        guard let account else { return nil }
        self = account
    }

    /// Whether this account may pass through a folder of these owners and mode.
    func mayEnter(_ folder: stat) -> Bool {
        if folder.st_uid == userID { return folder.st_mode & S_IXUSR != 0 }
        if folder.st_gid == groupID { return folder.st_mode & S_IXGRP != 0 }
        return folder.st_mode & S_IXOTH != 0
    }
}
