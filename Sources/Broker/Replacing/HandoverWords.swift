// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What two brokers say to each other of which one takes the place of the other: lines of words between blanks, over
/// the connection on which the new one asked (`HandoverWords.question` in its startup packet). Descriptors come with
/// the line that speaks of them.
///
/// | the old one says | |
/// |---|---|
/// | `pglease 1 PID VERSION` | the first line; what begins otherwise is no broker that can be replaced |
/// | `refused REASON` | instead of all else |
/// | `socket`, `socket lock`, `metrics`, `metrics lock`, `adopted` | one listening socket with each; the manager's are `adopted` |
/// | `lent` | it uses one connection less of every bound than it may: that many are the new one's |
/// | `held N DATABASE USER` | connections of this pool that it keeps; `held 0` from those that were named |
/// | `frozen` | every pool of which it keeps connections has been named |
/// | `settled` | nobody who would make a pool is left in a login |
///
/// | the new one says | |
/// |---|---|
/// | `serving` | it accepts clients: the old one stops to, and sends its own away |
/// | `connection` | with a socket on which a CancelRequest is to be read, of a client that is not the new one's |
enum HandoverWords {
    /// Of the startup packet. A broker that does not know it answers as to any login.
    static let question = "_pq_.pglease_replace"
    static let version = "1"
    static let longestLine = 16_384

    /// One word out of any name.
    static func escaped(_ name: String) -> String {
        var text = ""
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "%"), 0...32, 127...255:
                let digits = String(byte, radix: 16)
                text += "%" + (digits.count < 2 ? "0" : "") + digits
            default: text.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        return text.isEmpty ? "%" : text
    }

    /// nil: it is no word of ours.
    static func unescaped(_ word: Substring) -> String? {
        if word == "%" { return "" }
        var bytes: [UInt8] = []
        var rest = word.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, let value = UInt8(String(Substring(digits)), radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func startup() -> [UInt8] {
        var packet: [UInt8] = []
        packet.appendStartupMessage(
            parameters: [("user", "pglease"), ("database", "pglease"), (question, version)])
        return packet
    }
}
