// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// A setting of pgbouncer that pglease accepts without giving it an effect, or refuses.
///
/// An existing `pgbouncer.ini` starts as it is: what is only done otherwise here gets one warning.
/// What guarded a door in pgbouncer is refused, because to ignore it would open the door.
struct ReplacedSetting: Sendable {
    enum Answer: Sendable {
        /// Nothing is lost that somebody relies on; says what pglease does instead.
        case warn(String)
        /// Refused for every value but the listed ones.
        case refuse(unless: [String], String)
    }

    let name: String
    /// Values that ask for nothing, and are passed over in silence; pgbouncer's default first.
    let silent: [String]
    /// pgbouncer changes it while it runs.
    let changeable: Bool
    let answer: Answer

    /// What pgbouncer starts with.
    var defaultText: String { silent.first ?? "" }

    init(
        _ name: String, silent: [String] = [], needsRestart: Bool = false, _ answer: Answer
    ) {
        self.name = name
        self.silent = silent
        changeable = !needsRestart
        self.answer = answer
    }

    static let byName: [String: ReplacedSetting] = Dictionary(
        uniqueKeysWithValues: (process + network).map {
            ($0.name, $0)
        })

    private static let process: [ReplacedSetting] = [
        ReplacedSetting(
            "conffile", .warn("the configuration file is the one given with --config")),
        ReplacedSetting(
            "service_name", silent: ["pgbouncer"], .warn("there is no Windows service")),
        ReplacedSetting(
            "job_name", silent: ["pgbouncer"], needsRestart: true,
            .warn("there is no Windows service")),
        ReplacedSetting(
            "disable_pqexec", silent: ["0"], needsRestart: true,
            .refuse(unless: ["0", "no", "off", "false"], "simple queries cannot be switched off")),
        ReplacedSetting(
            "scram_iterations", silent: ["4096"], .warn("no SCRAM secrets are made here")),
        ReplacedSetting(
            "cancel_wait_timeout", silent: ["10"],
            .warn("a cancel request never waits for a connection of the pool")),
    ]

    private static let network: [ReplacedSetting] = [
        ReplacedSetting(
            "pkt_buf", silent: ["4096"], needsRestart: true,
            .warn("buffers are sized by what a connection needs")),
        ReplacedSetting(
            "dns_nxdomain_ttl", silent: ["15"], .warn("names are looked up at each connect")),
        ReplacedSetting(
            "dns_zone_check_period", silent: ["0"], .warn("names are looked up at each connect")),
        ReplacedSetting(
            "resolv_conf", silent: [""], needsRestart: true,
            .warn("the system's resolver is used")),
        ReplacedSetting(
            "server_tls_ciphers", silent: ["default", "secure", "fast", "normal", ""],
            .warn("OpenSSL's own configuration (OPENSSL_CONF) chooses the ciphers")),
        ReplacedSetting(
            "server_tls13_ciphers", silent: [""],
            .warn("OpenSSL's own configuration (OPENSSL_CONF) chooses the ciphers")),
    ]

    /// Adds what there is to say about `value` to one of the lists.
    func judge(
        _ value: String, origin: SettingOrigin, errors: inout [ConfigurationIssue],
        warnings: inout [ConfigurationIssue]
    ) {
        if silent.contains(value) { return }
        switch answer {
        case .warn(let instead):
            warnings.append(
                ConfigurationIssue(origin, name, "has no effect here: " + instead))
        case .refuse(let harmless, let why):
            if harmless.contains(value.asciiLowercased) {
                warnings.append(
                    ConfigurationIssue(
                        origin, name, "has no effect here: clients connect without it"))
            } else {
                errors.append(ConfigurationIssue(origin, name, why))
            }
        }
    }
}
