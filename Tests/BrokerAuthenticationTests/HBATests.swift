// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import Testing

/// Reads rules; other files are those of `files`.
private func read(
    _ text: String, ident: String? = nil, files: [String: String] = [:],
    directory: LDAPDirectory? = nil
) -> HBAReader {
    let maps = ident.map { IdentMapReader(file: "/etc/ident.conf", text: $0).maps }
    return HBAReader(file: "/etc/hba.conf", text: text, maps: maps, directory: directory) { path in
        files[path].map { .success($0) } ?? .failure(HBAFileFailure("No such file or directory"))
    }
}

/// The method of the first rule that fits; "none" without one.
private func method(
    _ rules: HBARules, _ database: String, _ user: String, _ address: String? = nil,
    encrypted: Bool = false, replication: Bool = false
) -> String {
    let client = HBAClient(
        database: database, user: user, address: address.flatMap(IPAddress.init(parsing:)),
        isEncrypted: encrypted, wantsReplication: replication)
    return rules.rule(for: client)?.method.rawValue ?? "none"
}

@Suite("HBA rules")
struct HBATests {
    @Test("the first rule that fits decides, by connection, database, user and address")
    func firstMatch() {
        let reader = read(
            """
            # comment
            \t \t
            local   dbp        all                      peer
            local   all        userp                    password
            local   all        all                      md5   # behind
            hostssl all        all   10.0.0.0/8         cert
            hostnossl all      all   11.0.0.0/8         md5
            host    all        all   127.0.0.0 255.255.255.0 password
            host    db1        all   0.0.0.0/0          md5
            host    all        u1,u2 , u3  16.0.0.0/8   md5
            host    "all"      "all" 19.0.0.0/8         trust
            host    "q1""q2"   "a , b" 19.0.0.0/8       trust
            host    sameuser   all   20.0.0.0/8         scram-sha-256
            host    mdb        all   ff20::/12          md5
            host    mdb        all   ::1/128            trust
            host    mdb3       all   all                scram-sha-256
            host    mdb4       all   all                reject
            hostgssenc all     all   all                trust
            hostnogssenc gss   all   all                reject
            """)
        #expect(reader.issues == [])
        let rules = reader.result
        #expect(rules.warnings == [])
        #expect(method(rules, "db", "user") == "md5")
        #expect(method(rules, "dbp", "userp") == "peer")
        #expect(method(rules, "db", "userp") == "password")
        #expect(method(rules, "db", "user", "10.1.1.1", encrypted: true) == "cert")
        #expect(method(rules, "db", "user", "10.1.1.1") == "none")
        #expect(method(rules, "db", "user", "11.1.1.1", encrypted: true) == "none")
        #expect(method(rules, "db", "user", "11.1.1.1") == "md5")
        #expect(method(rules, "db", "user", "127.0.0.2", encrypted: true) == "password")
        #expect(method(rules, "db", "user", "127.0.1.4") == "none")
        #expect(method(rules, "db1", "user", "127.0.1.4") == "md5")
        #expect(method(rules, "db1", "user", "2001::1") == "none")
        #expect(method(rules, "db", "u3", "16.0.0.1") == "md5")
        #expect(method(rules, "db", "u4", "16.0.0.1") == "none")
        #expect(method(rules, "db", "user", "19.0.0.2") == "none")
        #expect(method(rules, "all", "all", "19.0.0.2") == "trust")
        #expect(method(rules, "q1\"q2", "a , b", "19.0.0.2") == "trust")
        #expect(method(rules, "joe", "joe", "20.1.1.1") == "scram-sha-256")
        #expect(method(rules, "joe", "jim", "20.1.1.1") == "none")
        #expect(method(rules, "mdb", "m", "ff22:3::1") == "md5")
        #expect(method(rules, "mdb", "m", "::1") == "trust")
        #expect(method(rules, "mdb", "m", "::2") == "none")
        #expect(method(rules, "mdb3", "m", "face::1") == "scram-sha-256")
        #expect(method(rules, "mdb4", "m", "1.2.3.4") == "reject")
        #expect(method(rules, "gss", "m", "1.2.3.4") == "reject")
    }

    @Test("an IPv4 client of a listener for both families is an IPv4 client")
    func mappedAddresses() {
        let rules = read(
            """
            host a all 10.0.0.0/8 trust
            host b all ::ffff:10.0.0.0/104 trust
            host c all ::/0 trust
            host d all 0.0.0.0/0 trust
            """
        ).result
        for address in ["10.9.8.7", "::ffff:10.9.8.7", "::FFFF:0a09:0807"] {
            #expect(method(rules, "a", "x", address) == "trust")
            #expect(method(rules, "b", "x", address) == "trust")
            #expect(method(rules, "c", "x", address) == "none")
            #expect(method(rules, "d", "x", address) == "trust")
        }
        #expect(method(rules, "b", "x", "::ffff:11.0.0.1") == "none")
        #expect(method(rules, "c", "x", "fe80::1%eth0") == "trust")
    }

    @Test("only the word replication lets physical replication in")
    func replication() {
        let rules = read(
            """
            host replication admin ::1/128 trust
            host db2,replication admin2 ::1/128 trust
            host all other ::1/128 trust
            host "replication" quoted ::1/128 trust
            host all replication ::1/128 md5
            """
        ).result
        #expect(method(rules, "db", "admin", "::1", replication: true) == "trust")
        #expect(method(rules, "db", "admin", "::1") == "none")
        #expect(method(rules, "replication", "admin", "::1") == "none")
        #expect(method(rules, "db", "admin2", "::1", replication: true) == "trust")
        #expect(method(rules, "db2", "admin2", "::1") == "trust")
        #expect(method(rules, "db", "other", "::1", replication: true) == "none")
        #expect(method(rules, "replication", "quoted", "::1", replication: true) == "none")
        #expect(method(rules, "replication", "quoted", "::1") == "trust")
        #expect(method(rules, "db", "replication", "::1") == "md5")
    }

    @Test("quotes take a keyword's meaning away")
    func quotedKeywords() {
        let rules = read(
            """
            local "sameuser" a trust
            local "all" b trust
            local x "all" trust
            local "@file" c trust
            local x "+group" trust
            local x "/^re" trust
            """)
        #expect(rules.issues == [])
        #expect(method(rules.result, "a", "a") == "none")
        #expect(method(rules.result, "sameuser", "a") == "trust")
        #expect(method(rules.result, "x", "b") == "none")
        #expect(method(rules.result, "all", "b") == "trust")
        #expect(method(rules.result, "x", "all") == "trust")
        #expect(method(rules.result, "x", "z") == "none")
        #expect(method(rules.result, "@file", "c") == "trust")
        #expect(method(rules.result, "x", "+group") == "trust")
        #expect(method(rules.result, "x", "/^re") == "trust")
        let methods = read(
            "local all all \"trust\"\n\"local\" all all trust\nhost a b \"all\" trust")
        #expect(methods.issues.map(\.line) == [1, 2, 3])
    }

    @Test("@file lies beside its file, and holds names between blanks, commas and lines")
    func nameFiles() {
        let files = [
            "/etc/names": "one, two three # no\n\n\"all\"\n@more/names",
            "/etc/more/names": "@rest",
            "/etc/more/rest": "four",
            "/abs": "five",
        ]
        let reader = read("local @names,@/abs all trust", files: files)
        #expect(reader.issues == [])
        for name in ["one", "two", "three", "all", "four", "five"] {
            #expect(method(reader.result, name, "x") == "trust")
        }
        #expect(method(reader.result, "no", "x") == "none")
    }

    @Test("a mistake in a file of names is named there")
    func badNameFiles() {
        let bad = read("local @names all trust", files: ["/etc/names": "one\n\"two"])
        #expect(bad.issues.map(\.file) == ["/etc/names"])
        #expect(bad.issues.map(\.line) == [2])
        let circle = read("local all @a trust", files: ["/etc/a": "@a"])
        #expect(circle.issues.count == 1)
        let missing = read("\nlocal all @a trust")
        #expect(missing.issues.map(\.line) == [2])
        #expect(missing.issues.first?.reason == "/etc/a: No such file or directory")
    }

    @Test("a line goes on behind a backslash")
    func continuation() {
        let reader = read("local all \\\n  joe \\\r\n trust\nlocal x")
        #expect(method(reader.result, "db", "joe") == "trust")
        #expect(reader.issues.map(\.line) == [4])
    }

    @Test(
        "every kind of mistake refuses the file, by its line",
        arguments: [
            ("bogus all all trust", "unknown type"),
            ("local", "database is missing"),
            ("local all", "user is missing"),
            ("local all all", "method is missing"),
            ("host all all", "address is missing"),
            ("host all all 10.0.0.1/32", "method is missing"),
            ("host all all trust", "is no address"),
            ("host all all 10.0.0.1 trust", "has no mask"),
            ("host all all 10.0.0.1", "has no mask"),
            ("host all all 10.0.0.1 ffff:: trust", "has no mask"),
            ("host all all 10.0.0.1/ trust", "the mask is no number"),
            ("host all all 10.0.0.1/33 trust", "from 0 to 32"),
            ("host all all 10.0.0.1/+8 trust", "the mask is no number"),
            ("host all all 10.0.0.1/99999999999999999999 trust", "the mask is no number"),
            ("host all all ::1/129 trust", "from 0 to 128"),
            ("host all all 10.0.0.256/32 trust", "is no address"),
            ("host all all 010.0.0.1/32 trust", "is no address"),
            ("host all all 10.0.0/24 trust", "is no address"),
            ("host all all 1::2::3/64 trust", "is no address"),
            ("host all all 1:2:3:4:5:6:7/64 trust", "is no address"),
            ("host all all 1:2:3:4:5:6:7::8/64 trust", "is no address"),
            ("host all all 1:2:3:4:5:6::8/128 trust", nil),
            ("host all all 1:2:3:4:5:6:7:8/128 trust", nil),
            ("host all all ::ffff:1.2.3.4/128 trust", nil),
            ("host all all db.example.com trust", "host names are not supported"),
            ("host all all .example.com trust", "is no address"),
            ("host all all samenet trust", "not supported"),
            ("host all all samehost trust", "not supported"),
            ("host all all 10.0.0.1/32,10.0.0.2/32 trust", "one address"),
            ("local samerole all trust", "not supported"),
            ("local samegroup all trust", "not supported"),
            ("local all +admins trust", "members of roles"),
            ("local /^db all trust", "regular expression"),
            ("local all /^u trust", "regular expression"),
            ("local all @ trust", "no file is named"),
            ("local ,all all trust", "unknown type"),
            (", all trust", "a comma follows nothing"),
            ("local a,,b all trust", "a comma follows nothing"),
            ("local all all, trust", "method is missing"),
            ("local all \"all trust", "not closed"),
            ("local all all trsut", "is unknown"),
            ("local all all TRUST", "is unknown"),
            ("host all all all ident", "not supported"),
            ("local all all ident", nil),
            ("host all all all gss include_realm=0", "not supported"),
            ("host all all all radius", "not supported"),
            ("local all all trust x", "the option \"x\" is unknown"),
            ("hostssl all all all scram-sha-256 clientcert=verify-ca", "is unknown"),
            ("local all all md5 map=m", "belongs to peer and cert"),
            ("local all all peer map=none", "no ident map \"none\""),
            ("local all all peer map=", "is unknown"),
            ("local all all peer map=m map=m", "twice"),
            ("local all all trust, md5", "one method"),
            ("include other.conf", "not supported"),
            ("host all all all ldap ldapserver=a ldapprefix=\"cn=, #\"", nil),
            ("host all all all ldap ldapserver=a", "ldapbasedn, ldapprefix and ldapsuffix"),
            ("host all all all ldap", "ldap needs options"),
            ("host all all all ldap, md5", "one method"),
            ("host all all all pam pamservice=", "is unknown"),
            ("host all all all pam map=m", "is unknown"),
            ("host all all all pam pamservice=../x", "not a path"),
            ("local all all peer pamservice=m", "is unknown"),
            ("local all all peer map=m", nil),
            ("local all all \"peer\"", "is unknown"),
        ] as [(String, String?)])
    func mistakes(line: String, reason: String?) {
        let reader = read("# first\n\n" + line, ident: "m sys role")
        guard let reason else {
            #expect(reader.issues == [])
            return
        }
        #expect(reader.issues.map(\.line) == [3])
        #expect(reader.issues.allSatisfy { $0.file == "/etc/hba.conf" })
        let text = reader.issues.map { $0.reason + " " + ($0.advice ?? "") }.joined()
        #expect(text.contains(reason), "\(text)")
    }

    @Test("all mistakes are named, not the first alone")
    func allMistakes() {
        let reader = read("local all\nlocal all all trust\nhost x\n")
        #expect(reader.issues.map(\.line) == [1, 3])
    }

    @Test("what lets nobody in, or more than it says, is warned of")
    func warnings() {
        let reader = read(
            "host all all all peer\nlocal all all cert\nhostnossl all all all cert\nhost a b 10.1.2.3/8 md5"
        )
        #expect(reader.issues == [])
        #expect(reader.result.warnings.map(\.line) == [1, 2, 3, 4])
        #expect(method(reader.result, "a", "b", "10.0.0.9") == "peer")
        #expect(
            read("# none\n").result.warnings.map(\.reason) == ["has no rules: no client can log in"]
        )
    }

    @Test("an address with bits beyond its mask means its network")
    func surplusBits() {
        let rules = read("host a b 10.1.2.3/8 reject\nhost all all all trust").result
        #expect(method(rules, "a", "b", "10.0.0.9") == "reject")
        #expect(method(rules, "a", "b", "11.0.0.9") == "trust")
    }

    @Test("a mask of any bits")
    func oddMask() {
        let rules = read("host all all 10.0.0.1 255.0.0.255 trust").result
        #expect(method(rules, "a", "b", "10.200.7.1") == "trust")
        #expect(method(rules, "a", "b", "10.200.7.2") == "none")
    }

    @Test("ldap has a directory of its own, or the usual one; pam a service")
    func options() throws {
        let usual = try LDAPDirectory(options: "ldapserver=y ldapsuffix=@z")
        let reader = read(
            "host all all all ldap  ldapserver=x ldaptls=1 ldapprefix=\"cn=, #\" # end\n"
                + "host all all all ldap # end\nhost a a all pam pamservice=y\nlocal a a pam",
            directory: usual)
        #expect(reader.issues == [])
        let rules = reader.result.rules
        #expect(rules[0].directory?.lookup == .name(prefix: "cn=, #", suffix: ""))
        #expect(rules[0].directory?.servers == ["ldap://x:389"])
        #expect(rules[1].directory == usual)
        #expect(rules.map(\.service) == [nil, nil, "y", nil])
        #expect(reader.result.warnings.map(\.line) == [2])
    }
}

@Suite("Ident maps")
struct IdentMapTests {
    @Test("a name of the system may log in as the roles of its map")
    func maps() {
        let reader = IdentMapReader(
            file: "i", text: "# c\nm joe app\nm jim all\n\"n m\" joe \"all\"\nm joe other")
        #expect(reader.issues == [])
        let maps = reader.maps
        #expect(maps.names == ["m", "n m"])
        #expect(maps.allows("joe", as: "app", by: "m"))
        #expect(maps.allows("joe", as: "other", by: "m"))
        #expect(!maps.allows("joe", as: "x", by: "m"))
        #expect(maps.allows("jim", as: "x", by: "m"))
        #expect(!maps.allows("jane", as: "app", by: "m"))
        #expect(!maps.allows("joe", as: "app", by: "n m"))
        #expect(maps.allows("joe", as: "all", by: "n m"))
        #expect(!maps.allows("joe", as: "app", by: "none"))
    }

    @Test(
        "mistakes of a map are named by their line",
        arguments: [
            "m joe", "m joe app more", "m /^(.*)$ \\1", "m joe +group", "m a,b c", "m \"joe app",
            "include other",
        ])
    func mistakes(line: String) {
        let reader = IdentMapReader(file: "i", text: "m joe app\n" + line)
        #expect(reader.issues.map(\.line) == [2])
        #expect(reader.maps.allows("joe", as: "app", by: "m"))
    }
}
