// SPDX-License-Identifier: Apache-2.0

import PostgresFixture

extension PostgresServer {
    /// For all tests of this module.
    static let shared = Result {
        try PostgresServer(settings: { _ in "max_connections = 250" })
    }
}
