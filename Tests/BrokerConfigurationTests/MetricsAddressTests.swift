// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConfiguration

/// Which addresses `metrics_listen` takes, and how they are written back.
@Suite struct MetricsAddressTests {
    @Test(arguments: [
        ("127.0.0.1:9127", "127.0.0.1:9127", true), ("localhost:1", "localhost:1", true),
        ("[::1]:9127", "[::1]:9127", true), ("*:9127", "*:9127", false),
        ("0.0.0.0:9127", "0.0.0.0:9127", false), ("10.1.2.3:65535", "10.1.2.3:65535", false),
        ("db.internal:80", "db.internal:80", false),
        ("/run/pglease/m.sock", "/run/pglease/m.sock", true),
    ])
    func taken(_ text: String, _ written: String, _ isLocal: Bool) throws {
        let address = try MetricsAddress(text)
        #expect(address.text == written && address.isLocal == isLocal)
        #expect(try MetricsAddress(address.text) == address)
    }

    @Test(arguments: [
        "9127", ":9127", "host", "host:", "host:0", "host:65536", "host:-1", "host:9x", "::1:9127",
        "[::1:9127", "::1]:9127", "[]:9127", "a b:9127", "http://x:1", "/", "/folder/", "x/y:1",
        "[host]x:1",
    ])
    func refused(_ text: String) {
        #expect(throws: SettingValueError.self) { try MetricsAddress(text) }
    }
}
