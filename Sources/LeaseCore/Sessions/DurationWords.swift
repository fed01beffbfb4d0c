// SPDX-License-Identifier: Apache-2.0

extension Duration {
    /// "12.3 s", for people.
    package var inSeconds: String {
        let tenths = (wholeNanoseconds + 50_000_000) / 100_000_000
        return "\(tenths / 10).\(tenths % 10) s"
    }

    /// As `inSeconds`, with milliseconds of what is shorter than a tenth.
    package var inBrief: String {
        guard self < .milliseconds(100) else { return inSeconds }
        return "\(wholeNanoseconds / 1_000_000) ms"
    }
}
