// SPDX-License-Identifier: Apache-2.0

/// What the service manager handed over and the broker cannot use.
package enum SupervisionError: Error, Equatable, CustomStringConvertible {
    case notifySocket(path: String, reason: String)
    case listenDescriptors(value: String)
    case adoptedDescriptor(number: Int32, reason: String)

    package var description: String {
        switch self {
        case .notifySocket(let path, let reason):
            "NOTIFY_SOCKET=\(path) cannot be used: \(reason)"
        case .listenDescriptors(let value):
            "LISTEN_FDS=\(value) is not a number of descriptors: unset it, or start pglease from "
                + "the socket unit"
        case .adoptedDescriptor(let number, let reason):
            "descriptor \(number) of the socket unit cannot be used: \(reason)"
        }
    }
}
