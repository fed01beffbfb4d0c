// SPDX-License-Identifier: Apache-2.0

import CLibUV

/// fork(2), for a program that goes into the background.
package enum ProcessFork {
    /// Returns twice: 0 in the new process, its number in the old one, -1 where there is none. To be called before
    /// there are threads.
    package static func fork() -> Int32 { pglease_fork() }
}
