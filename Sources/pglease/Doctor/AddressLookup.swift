// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The addresses of a host's name, as the system's resolver has them (getaddrinfo). Blocks.
enum AddressLookup {
    static func addresses(_ host: String, _ port: String) -> [String] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, port, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [String] = []
        var entry = list
        while let current = entry?.pointee {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let status = getnameinfo(
                current.ai_addr, current.ai_addrlen, &text, socklen_t(text.count), nil, 0,
                NI_NUMERICHOST)
            let number = text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
            if status == 0, !addresses.contains(number) { addresses.append(number) }
            entry = current.ai_next
        }
        return addresses
    }
}
