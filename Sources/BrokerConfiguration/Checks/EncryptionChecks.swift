// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// TLS on both sides: what belongs together, and whether the files are there.
extension ConfigurationLoader {
    mutating func checkClientTLS() {
        let settings = configuration.settings
        let files = [
            ("client_tls_key_file", settings.clientTlsKeyFile),
            ("client_tls_cert_file", settings.clientTlsCertFile),
        ]
        guard settings.clientTlsSslmode != .disable else {
            for (name, file) in files where file != nil {
                warnings.append(
                    issue(
                        name, "has no effect: client_tls_sslmode is disable",
                        advice: "prefer lets clients choose, require leaves them no choice"))
            }
            return
        }
        var needed = files
        if settings.clientTlsSslmode.verifies {
            needed.append(("client_tls_ca_file", settings.clientTlsCaFile))
        }
        let missing = needed.filter { $0.1 == nil }.map(\.0)
        if !missing.isEmpty {
            errors.append(
                issue(
                    "client_tls_sslmode",
                    "\(settings.clientTlsSslmode.rawValue) needs \(missing.joined(separator: ", "))",
                    advice: "files in PEM: the key, its certificate, and the authorities that "
                        + "certificates of clients come from"))
        }
        if settings.listenAddr.isEmpty, settings.clientTlsSslmode.requiresTLS {
            warnings.append(
                issue(
                    "client_tls_sslmode",
                    "there is no listen_addr, and the Unix socket has no TLS"))
        }
        for (name, file) in files + [("client_tls_ca_file", settings.clientTlsCaFile)] {
            checkReadable(name, file)
        }
    }

    mutating func checkServerTLS() {
        let settings = configuration.settings
        if (settings.serverTlsCertFile == nil) != (settings.serverTlsKeyFile == nil) {
            let given = settings.serverTlsCertFile == nil ? "key" : "cert"
            let missing = settings.serverTlsCertFile == nil ? "cert" : "key"
            errors.append(
                issue("server_tls_\(given)_file", "server_tls_\(missing)_file is missing"))
            return
        }
        guard settings.serverTlsSslmode != .disable else { return }
        if settings.serverTlsSslmode.verifies, settings.serverTlsCaFile == nil {
            warnings.append(
                issue(
                    "server_tls_sslmode",
                    "without server_tls_ca_file libpq looks for ~/.postgresql/root.crt"))
        }
        // libpq's word for the authorities of this machine.
        let authority = settings.serverTlsCaFile == "system" ? nil : settings.serverTlsCaFile
        for (name, file) in [
            ("server_tls_ca_file", authority), ("server_tls_key_file", settings.serverTlsKeyFile),
            ("server_tls_cert_file", settings.serverTlsCertFile),
        ] {
            serverTLSFingerprint.combine(checkReadable(name, file))
        }
    }

    /// Reads the file. What is in it is OpenSSL's to say; that it is there is known here.
    @discardableResult
    private mutating func checkReadable(_ setting: String, _ path: String?) -> [UInt8] {
        guard let path else { return [] }
        do throws(FileReadError) {
            let bytes = try sources.readFile(path)
            files.append(path)
            return bytes
        } catch {
            errors.append(issue(setting, "\(path): \(error.reason)"))
            return []
        }
    }
}
