// SPDX-License-Identifier: Apache-2.0

import Glibc
import OperatorTools

/// The whole screen of the controlling terminal, taken over by `enter` and given back by `leave`.
///
/// Owns two descriptors of its own on it, so that making the reader non-blocking changes nothing for
/// the shell, which shares the standard ones.
final class TerminalScreen {
    /// For keys; non-blocking once an event loop watches it.
    let reader: Int32
    private let writer: Int32
    /// As the shell left it.
    private var before: termios?
    private var isEntered = false

    /// nil: this process has no terminal.
    init?() {
        let reader = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC)
        if reader < 0 { return nil }
        let writer = open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC)
        guard writer >= 0 else {
            close(reader)
            return nil
        }
        self.reader = reader
        self.writer = writer
    }

    deinit {
        leave()
        close(reader)
        close(writer)
    }

    var size: TerminalSize? { TerminalSize(of: writer) }

    /// The alternate screen, keys at once and unseen; again after somebody else had the terminal.
    func enter() {
        if before == nil {
            var found = termios()
            if tcgetattr(reader, &found) == 0 { before = found }
        }
        if var raw = before {
            cfmakeraw(&raw)
            tcsetattr(reader, TCSADRAIN, &raw)
        }
        isEntered = true
        write(TerminalPainter.enter)
    }

    /// As it was before. Idempotent.
    func leave() {
        if !isEntered { return }
        isEntered = false
        write(TerminalPainter.leave)
        if var before { tcsetattr(reader, TCSADRAIN, &before) }
    }

    /// What was typed; nil: the terminal is gone.
    func readKeys() -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = read(reader, &bytes, bytes.count)
        if count > 0 { return Array(bytes[..<count]) }
        return count < 0 && (errno == EAGAIN || errno == EINTR) ? [] : nil
    }

    func write(_ text: String) {
        if text.isEmpty { return }
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(writer, $0.baseAddress! + sent, bytes.count - sent)
            }
            if count > 0 {
                sent += count
            } else if errno != EINTR {
                return
            }
        }
    }
}
