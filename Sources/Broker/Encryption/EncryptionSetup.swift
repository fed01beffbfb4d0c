// SPDX-License-Identifier: Apache-2.0

package import BrokerConfiguration
import Glibc
package import LibSSL
import PostgresWire

/// What clients with TLS are served with, made of the settings and their files.
package struct EncryptionSetup {
    /// nil: clients have no TLS.
    package let context: TLSContext?
    /// What does not keep anybody out, but will.
    package let warnings: [ConfigurationIssue]

    /// With what is in force already, where this is a reload: a certificate that has expired takes the place
    /// of no other.
    package init(
        _ loaded: LoadedConfiguration, replacing old: TLSContext? = nil
    ) throws(ConfigurationError) {
        let settings = loaded.configuration.settings
        guard let options = settings.clientTLSOptions else {
            context = nil
            warnings = []
            return
        }
        func issue(_ setting: String, _ reason: String, _ advice: String?) -> ConfigurationIssue {
            ConfigurationIssue(loaded.origin(of: setting), setting, reason, advice: advice)
        }
        let made: TLSContext
        do throws(TLSSetupError) {
            made = try TLSContext(options)
        } catch {
            let (setting, file) = error.subject.setting(options)
            let reason = file.map { "\($0): \(error.reason)" } ?? error.reason
            throw ConfigurationError(
                issues: [issue(setting, reason, error.advice)], warnings: loaded.warnings)
        }
        var warnings: [ConfigurationIssue] = []
        let certificate = "client_tls_cert_file"
        switch made.validity {
        case .valid: break
        case .expired:
            let issue = issue(
                certificate, "\(options.certificateFile): the certificate has expired",
                "clients that verify it will refuse it: renew it and RELOAD")
            if let old, old.validity == .valid, old.fingerprint != made.fingerprint {
                throw ConfigurationError(issues: [issue], warnings: loaded.warnings)
            }
            warnings.append(issue)
        case .notYetValid:
            warnings.append(
                issue(
                    certificate, "\(options.certificateFile): the certificate is not valid yet",
                    "check the clock of this machine"))
        }
        if Self.isOpenToOthers(options.keyFile) {
            warnings.append(
                issue(
                    "client_tls_key_file",
                    "\(options.keyFile): others than its owner can read the key",
                    "chmod 0600, or 0640 if root owns it"))
        }
        context = made
        self.warnings = warnings
    }

    /// As PostgreSQL has it: of the owner only, or of root and a group.
    private static func isOpenToOthers(_ path: String) -> Bool {
        var facts = stat()
        guard stat(path, &facts) == 0 else { return false }
        return facts.st_mode & (facts.st_uid == 0 ? 0o027 : 0o077) != 0
    }
}

extension TLSSetupError.Subject {
    /// Where it was set, and the file it is about.
    fileprivate func setting(_ options: TLSServerOptions) -> (name: String, file: String?) {
        switch self {
        case .certificate: ("client_tls_cert_file", options.certificateFile)
        case .key: ("client_tls_key_file", options.keyFile)
        case .authority: ("client_tls_ca_file", options.authorityFile)
        case .protocols: ("client_tls_protocols", nil)
        case .ciphers: ("client_tls_ciphers", nil)
        case .cipherSuites: ("client_tls13_ciphers", nil)
        case .curve: ("client_tls_ecdhcurve", nil)
        case .library: ("client_tls_sslmode", nil)
        }
    }
}

extension Settings {
    /// nil: TLS is off.
    fileprivate var clientTLSOptions: TLSServerOptions? {
        guard clientTlsSslmode != .disable, let certificate = clientTlsCertFile,
            let key = clientTlsKeyFile
        else { return nil }
        var options = TLSServerOptions(certificateFile: certificate, keyFile: key)
        options.authorityFile = clientTlsCaFile
        switch clientTlsSslmode {
        case .disable, .allow, .prefer, .require:
            options.clientCertificate = clientTlsCaFile == nil ? .notAsked : .optional
        case .verifyCA, .verifyFull: options.clientCertificate = .required
        }
        options.versions = Set(
            clientTlsProtocols.versions.compactMap { version in
                switch version {
                case "TLSv1": .tls1
                case "TLSv1.1": .tls11
                case "TLSv1.2": .tls12
                case "TLSv1.3": .tls13
                default: nil
                }
            })
        switch clientTlsCiphers.asciiLowercased {
        case "default", "secure", "fast", "normal": break
        case "all": options.ciphers = "ALL:!aNULL:!eNULL"
        default: options.ciphers = clientTlsCiphers
        }
        options.cipherSuites = clientTls13Ciphers
        switch clientTlsDheparams {
        case .none: options.diffieHellman = .none
        case .auto: options.diffieHellman = .automatic
        case .legacy: options.diffieHellman = .legacy
        }
        switch clientTlsEcdhcurve.asciiLowercased {
        case "none": options.curve = .none
        case "auto", "": options.curve = .automatic
        default: options.curve = .named(clientTlsEcdhcurve)
        }
        return options
    }
}
