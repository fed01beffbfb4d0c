// SPDX-License-Identifier: Apache-2.0

/// Whose defaults a configuration starts from: decided by the name of its main section.
package enum ConfigurationFlavour: String, Equatable, Sendable {
    case pglease, pgbouncer
}
