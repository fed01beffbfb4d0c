// SPDX-License-Identifier: Apache-2.0

/// What a database or user says about a setting: nothing, or a value in place of the general one.
///
/// An optional would not do: where 0 means "no limit", "no limit here" and "as elsewhere" differ.
package enum Override<Value: Equatable & Sendable>: Equatable, Sendable {
    case inherited
    case value(Value)

    /// This value, or the one it stands in for.
    package func over(_ general: Value) -> Value {
        switch self {
        case .inherited: general
        case .value(let own): own
        }
    }

    /// This override, or the next when it says nothing.
    package func or(_ next: Override) -> Override {
        self == .inherited ? next : self
    }
}
