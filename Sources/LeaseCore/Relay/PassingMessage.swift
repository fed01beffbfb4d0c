// SPDX-License-Identifier: Apache-2.0

/// The message of a stream whose header has passed and whose body has not, wholly.
///
/// Invariant: between two messages `bytesLeft` is 0.
package struct PassingMessage: Equatable, Sendable {
    /// Body bytes still to come.
    package var bytesLeft = 0
    /// The rest is thrown away, not passed on.
    package var isDiscarded = false

    package init() {}

    /// The other side has a part of this message, and needs the rest.
    package var isHalfPassed: Bool { bytesLeft > 0 && !isDiscarded }
}
