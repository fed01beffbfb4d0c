/// A text that is never shown: however it is printed, dumped or interpolated, three stars appear.
package struct Secret: Equatable, Hashable, Sendable {
    /// The text itself. Only what hands it to libpq or to a verifier reads this.
    package let value: String

    package init(_ value: String) { self.value = value }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "***" }
    package var debugDescription: String { "***" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
