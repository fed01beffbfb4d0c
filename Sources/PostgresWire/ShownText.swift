// SPDX-License-Identifier: Apache-2.0

/// A text as errors show it: in quotes, cut when long, without control characters.
package func quoted(_ text: some StringProtocol) -> String {
    var shown = ""
    for scalar in text.unicodeScalars.prefix(80) {
        shown.unicodeScalars.append(scalar.properties.generalCategory == .control ? "?" : scalar)
    }
    return text.unicodeScalars.count > 80 ? "\"\(shown)…\"" : "\"\(shown)\""
}

extension StringProtocol {
    package var asciiLowercased: String {
        String(
            decoding: utf8.map { $0 >= 0x41 && $0 <= 0x5A ? $0 + 0x20 : $0 }, as: Unicode.UTF8.self)
    }

    package var asciiUppercased: String {
        String(
            decoding: utf8.map { $0 >= 0x61 && $0 <= 0x7A ? $0 - 0x20 : $0 }, as: Unicode.UTF8.self)
    }
}
