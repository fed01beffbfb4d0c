// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Lines for the person at the terminal, outside the log.
enum Output {
    static func line(_ text: String) {
        write("\(text)\n", to: STDOUT_FILENO)
    }

    /// A question; the answer stands in the same line.
    static func ask(_ text: String) {
        write(text, to: STDERR_FILENO)
    }

    static func error(_ text: String) {
        write("\(text)\n", to: STDERR_FILENO)
    }

    /// Not `print`: its buffer would be lost, or come late, beside the log's direct writes.
    private static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress! + sent, bytes.count - sent)
            }
            if count > 0 {
                sent += count
            } else if errno != EINTR {
                return
            }
        }
    }
}
