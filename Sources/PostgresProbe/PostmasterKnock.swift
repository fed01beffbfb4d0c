// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Whether a PostgreSQL is alive: asks for TLS, which every one answers with a byte, whatever it would say to a login.
/// Takes no connection's place there, and leaves no line in its log.
package enum PostmasterKnock: Equatable, Sendable {
    case answers, refused, silent

    /// Blocks until the answer, but not longer than `patience`.
    package static func knock(_ address: ProbeAddress, patience: Duration) -> PostmasterKnock {
        let deadline = ContinuousClock.now + patience
        do throws(ProbeError) {
            let descriptor = try ProbeSocket.connect(to: address, deadline: deadline)
            defer { close(descriptor) }
            let request: [UInt8] = [0, 0, 0, 8, 4, 210, 22, 47]
            guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == 8 else {
                return .refused
            }
            try ProbeSocket.wait(for: descriptor, events: POLLIN, deadline: deadline)
            var answer: UInt8 = 0
            return recv(descriptor, &answer, 1, 0) == 1 ? .answers : .refused
        } catch {
            return ContinuousClock.now >= deadline ? .silent : .refused
        }
    }
}
