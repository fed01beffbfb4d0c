// SPDX-License-Identifier: Apache-2.0

import CLibUV

/// What this machine is called.
package enum HostName {
    /// uv_os_gethostname; `localhost` if the system does not say.
    package static var own: String {
        var size = 256
        let name = unsafe [UInt8](unsafeUninitializedCapacity: size) { space, count in
            let status = unsafe space.withMemoryRebound(to: CChar.self) {
                unsafe uv_os_gethostname($0.baseAddress!, &size)
            }
            count = status == 0 ? size : 0
        }
        return name.isEmpty ? "localhost" : String(decoding: name, as: UTF8.self)
    }
}
