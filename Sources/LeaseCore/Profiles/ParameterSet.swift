// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The values of GUC_REPORT parameters as a server reported them, in its order.
///
/// Immutable and shared: thousands of clients that were told the same hold the same object, so
/// that "nothing to tell" is a comparison of references.
package final class ParameterSet: Sendable {
    package let values: [(name: String, value: String)]

    package init(_ values: [(name: String, value: String)]) { self.values = values }

    package func value(of name: String) -> String? {
        values.first { $0.name == name }?.value
    }

    /// This set with those values; itself if nothing differs.
    package func changing(_ changes: [(name: String, value: String)]) -> ParameterSet {
        var result = values
        var differs = false
        for change in changes {
            if let index = result.firstIndex(where: { $0.name == change.name }) {
                guard result[index].value != change.value else { continue }
                result[index].value = change.value
            } else {
                result.append(change)
            }
            differs = true
        }
        return differs ? ParameterSet(result) : self
    }

    package func isEqual(_ other: ParameterSet) -> Bool {
        self === other || values.elementsEqual(other.values) { $0 == $1 }
    }

    /// What a client that was told `told` must be told of this set.
    package func news(since told: ParameterSet) -> [(name: String, value: String)] {
        if self === told { return [] }
        return values.filter { told.value(of: $0.name) != $0.value }
    }
}
