// SPDX-License-Identifier: Apache-2.0

import CLibUV

/// A failed call of libuv or of the system, in libuv's numbering (the errno, negated).
package struct UVError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Negative: `UV_EADDRINUSE` and its like.
    package let code: Int32
    /// What went wrong, for people.
    package let message: String
    /// The C function that said so.
    package let call: String

    package init(code: Int32, call: String) {
        self.init(code: code, call: call, message: UVError.text(of: code))
    }

    package init(code: Int32, call: String, message: String) {
        self.code = code
        self.call = call
        self.message = message
    }

    package init(errno: Int32, call: String) {
        self.init(code: -errno, call: call)
    }

    /// The symbol, such as `EADDRINUSE` (uv_err_name_r).
    package var name: String {
        unsafe UVError.read { buffer, length in
            _ = unsafe uv_err_name_r(code, buffer, length)
        }
    }

    package var description: String { "\(call): \(message) (\(name))" }

    /// The process or the system has no descriptor left.
    package var isDescriptorsExhausted: Bool {
        code == UV_EMFILE.rawValue || code == UV_ENFILE.rawValue
    }

    /// Throws when a libuv call answered with an error.
    static func check(_ status: Int32, _ call: String) throws(UVError) {
        if status < 0 { throw UVError(code: status, call: call) }
    }

    private static func text(of code: Int32) -> String {
        unsafe read { buffer, length in
            _ = unsafe uv_strerror_r(code, buffer, length)
        }
    }

    /// uv_err_name and uv_strerror leak for unknown codes, their `_r` forms do not.
    private static func read(_ fill: (UnsafeMutablePointer<CChar>, Int) -> Void) -> String {
        // SAFETY: the buffer lives for the call, and both functions end it with a NUL.
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            unsafe fill(buffer.baseAddress!, buffer.count)
            return unsafe String(cString: buffer.baseAddress!)
        }
    }
}
