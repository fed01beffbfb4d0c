// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// What this process is let have of the kernel, which a container's filter may refuse.
package enum KernelFeatures {
    /// membarrier(2) with MEMBARRIER_CMD_GLOBAL_EXPEDITED: without it no lease is parked.
    package static var hasBarriers: Bool { pglease_barrier() == 0 }

    /// pidfd_open(2): without it the end of a client's process is not seen before its socket's.
    package static var hasProcessDescriptors: Bool {
        let descriptor = pglease_pidfd_open(getpid())
        guard descriptor >= 0 else { return false }
        Descriptor.close(descriptor)
        return true
    }
}
