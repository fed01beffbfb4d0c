// SPDX-License-Identifier: Apache-2.0

import Foundation
import LibSSL
import Testing

@Suite("The context of TLS for clients")
struct TLSContextTests {
    private let files: Certificates

    init() throws {
        files = try Certificates()
        try files.make("server", subject: "/CN=localhost")
    }

    private func options() -> TLSServerOptions {
        TLSServerOptions(
            certificateFile: files.path("server.crt"), keyFile: files.path("server.key"))
    }

    private func failure(_ change: (inout TLSServerOptions) -> Void) -> TLSSetupError? {
        var options = options()
        change(&options)
        do {
            _ = try TLSContext(options)
            return nil
        } catch {
            return error
        }
    }

    @Test("Files that belong together, and every setting that OpenSSL knows")
    func good() throws {
        #expect(failure { _ in } == nil)
        #expect(failure { $0.versions = [.tls1, .tls13] } == nil)
        #expect(failure { $0.ciphers = "ECDHE+AESGCM:!aNULL" } == nil)
        #expect(failure { $0.cipherSuites = "TLS_AES_128_GCM_SHA256" } == nil)
        #expect(failure { $0.curve = .named("X25519:prime256v1") } == nil)
        #expect(failure { $0.curve = .none } == nil)
        for kind in [TLSServerOptions.DiffieHellman.none, .automatic, .legacy] {
            #expect(failure { $0.diffieHellman = kind } == nil)
        }
        let context = try TLSContext(options())
        #expect(context.validity == .valid)
        #expect(context.fingerprint.count == 32)
        #expect(context.fingerprint == (try TLSContext(options())).fingerprint)
    }

    @Test("What is wrong is named")
    func bad() throws {
        #expect(failure { $0.ciphers = "NO-SUCH-CIPHER" }?.subject == .ciphers)
        #expect(failure { $0.cipherSuites = "NO_SUCH_SUITE" }?.subject == .cipherSuites)
        #expect(failure { $0.curve = .named("no-such-curve") }?.subject == .curve)
        #expect(failure { $0.versions = [] }?.subject == .protocols)
        #expect(failure { $0.certificateFile = files.path("nothing") }?.subject == .certificate)
        #expect(failure { $0.certificateFile = files.path("server.key") }?.subject == .certificate)
        #expect(failure { $0.keyFile = files.path("nothing") }?.subject == .key)
        #expect(failure { $0.keyFile = files.path("server.crt") }?.subject == .key)
        #expect(failure { $0.clientCertificate = .required }?.subject == .authority)
        let noAuthority = failure {
            $0.clientCertificate = .optional
            $0.authorityFile = files.path("server.key")
        }
        #expect(noAuthority?.subject == .authority)
    }

    @Test("A key of another certificate, and one with a passphrase, which is not asked for")
    func keys() throws {
        try files.make("other", subject: "/CN=other")
        let mismatch = failure { $0.keyFile = files.path("other.key") }
        #expect(mismatch?.reason == "the key does not belong to the certificate")
        try files.run(
            "pkey", "-in", "server.key", "-aes256", "-passout", "pass:x", "-out", "locked.key")
        let locked = failure { $0.keyFile = files.path("locked.key") }
        #expect(locked?.subject == .key)
        #expect(locked?.reason.contains("encrypted") == true)
    }

    @Test("Certificates whose time has not come, or is over")
    func validity() throws {
        try files.make("old", subject: "/CN=localhost", days: -1)
        var options = options()
        options.certificateFile = files.path("old.crt")
        options.keyFile = files.path("old.key")
        #expect(try TLSContext(options).validity == .expired)
    }
}
