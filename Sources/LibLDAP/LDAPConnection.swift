// SPDX-License-Identifier: Apache-2.0

import CLDAP

/// Why an operation did not succeed: LDAP's result code, and its text.
struct LDAPFailure: Error, Equatable {
    let code: Int32
    let text: String

    /// Another server may answer: this one is away, busy, silent or cannot encrypt.
    var isOfTheServer: Bool {
        switch code {
        case LDAP_BUSY, LDAP_UNAVAILABLE, LDAP_UNWILLING_TO_PERFORM, LDAP_OTHER: true
        // libldap's own: the connection, its time, its encryption.
        default: code < 0 || code == pglease_ldap_timeout || code == pglease_ldap_server_down
        }
    }
}

/// A connection to one LDAP server (`LDAP *`). Every operation ends by the time that it was made with.
@safe final class LDAPConnection {
    private let handle: OpaquePointer
    private let end: ContinuousClock.Instant

    /// Connects (ldap_initialize, ldap_connect), and encrypts the connection where the URI or `startsTLS` says so
    /// (ldap_install_tls, ldap_start_tls_s).
    static func open(
        uri: String, startsTLS: Bool, within time: Duration
    ) throws(LDAPFailure) -> LDAPConnection {
        _ = isReady
        var made: OpaquePointer?
        // libldap's own handshake of ldaps knows no time, so it connects without, and encrypts then.
        let isLDAPS = uri.hasPrefix("ldaps:")
        // SAFETY: the URI is copied; the handle is unbound by deinit.
        let status = unsafe ldap_initialize(&made, isLDAPS ? "ldap" + uri.dropFirst(5) : uri)
        guard status == LDAP_SUCCESS, let made = unsafe made else {
            throw LDAPFailure(code: status, text: text(status))
        }
        let connection = unsafe LDAPConnection(handle: made, end: .now + time)
        try connection.connect(within: time)
        if isLDAPS || startsTLS { try connection.encrypt(isLDAPS: isLDAPS) }
        return connection
    }

    /// libldap has read its files (ldap.conf): once, and not from two threads.
    private static let isReady: Bool = {
        var version: Int32 = 0
        return unsafe ldap_get_option(nil, LDAP_OPT_PROTOCOL_VERSION, &version) == LDAP_OPT_SUCCESS
    }()

    private init(handle: OpaquePointer, end: ContinuousClock.Instant) {
        unsafe self.handle = handle
        self.end = end
    }

    private func connect(within time: Duration) throws(LDAPFailure) {
        var version = LDAP_VERSION3
        try checked(unsafe ldap_set_option(handle, LDAP_OPT_PROTOCOL_VERSION, &version))
        try checked(unsafe pglease_ldap_go_on_after_signals(handle))
        try prepare()
        var milliseconds = UInt32(Self.seconds(of: time) * 1000)
        _ = unsafe ldap_set_option(handle, LDAP_OPT_TCP_USER_TIMEOUT, &milliseconds)
        try checked(unsafe ldap_connect(handle))
        guard unsafe pglease_ldap_bound(handle, 1) == 0 else {
            throw LDAPFailure(code: pglease_ldap_server_down, text: "no socket")
        }
    }

    private func encrypt(isLDAPS: Bool) throws(LDAPFailure) {
        try prepare()
        // Without it a handshake asks the socket again and again, for ever (OpenLDAP 2.5).
        try checked(unsafe pglease_ldap_wait_in_handshakes(handle, 1))
        let status =
            unsafe isLDAPS ? ldap_install_tls(handle) : ldap_start_tls_s(handle, nil, nil)
        try checked(unsafe pglease_ldap_wait_in_handshakes(handle, 0))
        try checked(status)
    }

    // SAFETY: nobody else has the handle.
    deinit { _ = unsafe ldap_unbind_ext_s(handle, nil, nil) }

    /// Proves to be somebody by a password (ldap_sasl_bind_s). An empty password proves nothing, and LDAP accepts
    /// it all the same: not for users.
    func bind(name: String, password: [UInt8]) throws(LDAPFailure) {
        try prepare()
        var bytes = password.map { CChar(bitPattern: $0) }
        let status = unsafe bytes.withUnsafeMutableBufferPointer { buffer in
            // SAFETY: libldap copies the password before it returns.
            var secret = unsafe berval(
                bv_len: ber_len_t(buffer.count), bv_val: buffer.baseAddress)
            return unsafe ldap_sasl_bind_s(handle, name, nil, &secret, nil, nil, nil)
        }
        try checked(status)
    }

    /// The names of the entries that a filter finds, two at the most (ldap_search_ext_s, ldap_get_dn).
    func names(
        below base: String, scope: Int32, filter: String, attribute: String
    ) throws(LDAPFailure) -> [String] {
        try prepare()
        var answer: OpaquePointer?
        var time = timeLeft()
        let status = unsafe attribute.withCString { text in
            // SAFETY: libldap reads the list and copies it.
            var attributes: [UnsafeMutablePointer<CChar>?] = unsafe [
                UnsafeMutablePointer(mutating: text), nil,
            ]
            return unsafe ldap_search_ext_s(
                handle, base, scope, filter, &attributes, 0, nil, nil, &time, 2, &answer)
        }
        // SAFETY: what a search answers is the caller's, also when it failed; NULL is passed over.
        defer { _ = unsafe ldap_msgfree(answer) }
        // More than two: those that came suffice to know it.
        if status != LDAP_SIZELIMIT_EXCEEDED { try checked(status) }
        var names: [String] = []
        var entry = unsafe ldap_first_entry(handle, answer)
        while let one = unsafe entry {
            guard let name = unsafe ldap_get_dn(handle, one) else {
                throw LDAPFailure(code: pglease_ldap_no_memory, text: "an entry has no name")
            }
            names.append(unsafe String(cString: name))
            unsafe ldap_memfree(name)
            unsafe entry = ldap_next_entry(handle, one)
        }
        return names
    }

    // MARK: Time

    /// The next operation ends by the time that is left.
    private func prepare() throws(LDAPFailure) {
        guard end > .now else {
            throw LDAPFailure(
                code: pglease_ldap_timeout, text: Self.text(pglease_ldap_timeout))
        }
        var time = timeLeft()
        try checked(unsafe ldap_set_option(handle, LDAP_OPT_NETWORK_TIMEOUT, &time))
        try checked(unsafe ldap_set_option(handle, LDAP_OPT_TIMEOUT, &time))
    }

    private func timeLeft() -> timeval {
        let left = max(.milliseconds(10), ContinuousClock.now.duration(to: end))
        let seconds = Self.seconds(of: left)
        return timeval(
            tv_sec: Int(seconds),
            tv_usec: Int((seconds - seconds.rounded(.down)) * 1_000_000))
    }

    private static func seconds(of time: Duration) -> Double {
        Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
    }

    // MARK: Failures

    private func checked(_ status: Int32) throws(LDAPFailure) {
        guard status != LDAP_SUCCESS else { return }
        var text = Self.text(status)
        var more: UnsafeMutablePointer<CChar>?
        // SAFETY: the text is ours to free.
        if unsafe ldap_get_option(handle, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more) == LDAP_OPT_SUCCESS,
            let more = unsafe more
        {
            let said = unsafe String(cString: more)
            unsafe ldap_memfree(more)
            if !said.isEmpty { text += " (\(said.prefix(200)))" }
        }
        throw LDAPFailure(code: status, text: text)
    }

    private static func text(_ status: Int32) -> String {
        unsafe ldap_err2string(status).map { unsafe String(cString: $0) } ?? "error \(status)"
    }
}

/// The servers of a domain, from its name (ldap_dn2domain) and the name service's SRV records
/// (ldap_domain2hostlist), as `host:port`. Empty: there are none.
func ldapServers(ofDomainIn base: String) -> [String] {
    var domain: UnsafeMutablePointer<CChar>?
    var hosts: UnsafeMutablePointer<CChar>?
    // SAFETY: both texts are ours to free; NULL is passed over.
    defer {
        unsafe ldap_memfree(domain)
        unsafe ldap_memfree(hosts)
    }
    guard unsafe ldap_dn2domain(base, &domain) == LDAP_SUCCESS, unsafe domain != nil,
        unsafe ldap_domain2hostlist(domain, &hosts) == LDAP_SUCCESS, let hosts = unsafe hosts
    else { return [] }
    return unsafe String(cString: hosts).split(separator: " ").map(String.init)
}
