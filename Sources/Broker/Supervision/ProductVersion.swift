// SPDX-License-Identifier: Apache-2.0

/// The version of this product: `pglease version`, SHOW VERSION, the start's log line.
package enum ProductVersion {
    package static let text = "0.1.0"
}
