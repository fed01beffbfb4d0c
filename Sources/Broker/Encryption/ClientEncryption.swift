// SPDX-License-Identifier: Apache-2.0

import LibSSL
import LibUV

/// TLS on a client's connection, from the `S` that answered its SSLRequest, or from its first byte.
final class ClientEncryption {
    let stream: TLSStream
    /// It began without an SSLRequest.
    let isDirect: Bool
    /// What the engine wants to hear of next from the socket.
    var wanted: FileEvents

    init(_ stream: TLSStream, isDirect: Bool, wanted: FileEvents) {
        self.stream = stream
        self.isDirect = isDirect
        self.wanted = wanted
    }

    /// What the socket is watched for, so that what is wanted can go on. The other direction stands for one
    /// that waits for it: the own one would be announced again and again.
    var watched: FileEvents {
        var events = wanted
        if stream.awaits.contains(.bytesToWrite), wanted.contains(.writable) {
            events.remove(.writable)
            events.insert(.readable)
        }
        if stream.awaits.contains(.roomToRead), wanted.mayRead {
            events.remove([.readable, .disconnect])
            events.insert(.writable)
        }
        return events
    }
}

extension ClientConnection {
    var isEncrypted: Bool { encryption?.stream.isEstablished == true }

    /// The name in the certificate that the client has shown. One that is not good has ended its handshake, so
    /// the name is verified; nil without a certificate, and without TLS.
    var certificateName: String? {
        guard case .name(let name) = encryption?.stream.peerName else { return nil }
        return name
    }
}
