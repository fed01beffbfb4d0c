// SPDX-License-Identifier: Apache-2.0

/// Holds what cannot be copied where a test wants to hand its fixture about.
final class Cell<Value: ~Copyable> {
    var value: Value

    init(_ value: consuming Value) { self.value = value }
}
