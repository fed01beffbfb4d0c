// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import PostgresWire

/// Notices and warnings of one login, for the client that it is for: libpq would print them. Once it is logged in,
/// libpq reads no more.
///
/// Invariant: whoever owns the `PGconn` keeps it longer than that.
final class LoginNotices {
    private(set) var messages: [UInt8] = []
    /// A server that says more is not listened to.
    private static let limit = 65_536

    /// PQsetNoticeReceiver. The previous receiver is libpq's own.
    func receive(from connection: OpaquePointer?) {
        guard let connection = unsafe connection else { return }
        // SAFETY: the object outlives the PGconn, see above.
        _ = unsafe PQsetNoticeReceiver(
            connection,
            { object, result in
                guard let object = unsafe object else { return }
                let notices = unsafe Unmanaged<LoginNotices>.fromOpaque(object)
                    .takeUnretainedValue()
                unsafe notices.add(result)
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// PQresultErrorField has one field after the other; those of libpq's own notices have no SQLSTATE.
    private func add(_ result: OpaquePointer?) {
        guard messages.count < Self.limit,
            unsafe PQresultErrorField(result, Int32(UInt8(ascii: "C"))) != nil
        else { return }
        var fields: [UInt8] = []
        for code in "SVCMDHPpqWstcdnFLR".utf8 {
            guard let value = unsafe PQresultErrorField(result, Int32(code)) else { continue }
            fields.append(code)
            fields += unsafe Array(String(cString: value).utf8)
            fields.append(0)
        }
        fields.append(0)
        messages.append(BackendKind.noticeResponse.rawValue)
        let length = UInt32(fields.count + 4)
        messages += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
        messages += fields
    }
}
