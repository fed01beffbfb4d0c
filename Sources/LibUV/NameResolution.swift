// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

extension EventLoop {
    /// Looks a host up on a thread of libuv's pool (uv_getaddrinfo) and answers its stream addresses
    /// in the system's order of preference, on the loop's thread.
    package func resolve(
        host: String, port: String,
        then completion: @escaping (Result<[SocketAddress], UVError>) -> Void
    ) throws(UVError) {
        let resolution = Resolution(loop: self, completion: completion)
        let request = UnsafeMutablePointer<uv_getaddrinfo_t>.allocate(capacity: 1)
        unsafe request.pointee.data = Unmanaged.passRetained(resolution).toOpaque()
        var hints = unsafe streamHints(flags: 0)
        // SAFETY: libuv copies names and hints; the request lives until its callback.
        let status = unsafe uv_getaddrinfo(
            pointer, request, resolvedThunk, host, port.isEmpty ? nil : port, &hints)
        guard status == 0 else {
            unsafe Unmanaged<Resolution>.fromOpaque(request.pointee.data!).release()
            unsafe request.deallocate()
            throw UVError(code: status, call: "uv_getaddrinfo")
        }
        pendingRequests += 1
    }

    /// The blocking form, for addresses to listen on at start. `host` nil: all local addresses.
    func resolveNow(host: String?, port: UInt16) throws(UVError) -> [SocketAddress] {
        var request = unsafe uv_getaddrinfo_t()
        var hints = unsafe streamHints(flags: AI_PASSIVE | AI_NUMERICSERV)
        // SAFETY: without a callback libuv fills the request before it returns.
        let status = unsafe uv_getaddrinfo(pointer, &request, nil, host, String(port), &hints)
        try UVError.check(status, "uv_getaddrinfo")
        defer { unsafe uv_freeaddrinfo(request.addrinfo) }
        return unsafe SocketAddress.list(request.addrinfo)
    }
}

private func streamHints(flags: Int32) -> addrinfo {
    var hints = unsafe addrinfo()
    unsafe hints.ai_family = AF_UNSPEC
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    unsafe hints.ai_flags = flags
    return unsafe hints
}

/// A look-up that is under way.
private final class Resolution {
    private let loop: EventLoop
    private let completion: (Result<[SocketAddress], UVError>) -> Void

    init(loop: EventLoop, completion: @escaping (Result<[SocketAddress], UVError>) -> Void) {
        self.loop = loop
        self.completion = completion
    }

    func complete(_ result: Result<[SocketAddress], UVError>) {
        loop.pendingRequests -= 1
        completion(result)
    }
}

private func resolvedThunk(
    _ request: UnsafeMutablePointer<uv_getaddrinfo_t>?, _ status: Int32,
    _ addresses: UnsafeMutablePointer<addrinfo>?
) {
    // SAFETY: the balance of passRetained in resolve; libuv is done with the request.
    let resolution = unsafe Unmanaged<Resolution>.fromOpaque(request!.pointee.data!)
        .takeRetainedValue()
    unsafe request!.deallocate()
    defer { unsafe uv_freeaddrinfo(addresses) }
    if status < 0 {
        resolution.complete(.failure(UVError(code: status, call: "uv_getaddrinfo")))
    } else {
        resolution.complete(.success(unsafe SocketAddress.list(addresses)))
    }
}
