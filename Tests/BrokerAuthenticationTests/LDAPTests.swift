// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerAuthentication

@Suite("LDAP")
struct LDAPTests {
    private func search(_ options: String) throws -> LDAPDirectory.Search {
        guard case .search(let search) = try LDAPDirectory(options: options).lookup else {
            throw LDAPOptionsError("no search")
        }
        return search
    }

    @Test("options as pgbouncer's documentation and PostgreSQL's write them")
    func examples() throws {
        let url = try LDAPDirectory(
            options: "ldapurl=\"ldap://127.0.0.1:12345/dc=example,dc=net?uid?sub\"")
        #expect(url.servers == ["ldap://127.0.0.1:12345"])
        #expect(
            url.lookup
                == .search(
                    LDAPDirectory.Search(
                        base: "dc=example,dc=net", filter: "(uid=$username)", attribute: "uid")))
        let bind = try LDAPDirectory(
            options:
                "ldapserver=ldap.example.net ldapprefix=\"cn=\" ldapsuffix=\", dc=example, dc=net\""
        )
        #expect(bind.servers == ["ldap://ldap.example.net:389"])
        #expect(bind.lookup == .name(prefix: "cn=", suffix: ", dc=example, dc=net"))
        let filter = try search(
            "ldapserver=a ldapbasedn=\"dc=example, dc=net\" "
                + "ldapsearchfilter=\"(|(uid=$username)(mail=$username))\"")
        #expect(filter.filter(for: "joe") == "(|(uid=joe)(mail=joe))")
        let bound = try search(
            "ldapserver=a,ldapbasedn=\"dc=x\",\"ldapbinddn=cn=pg b,dc=x\" ldapbindpasswd=\"a\"\"b #\""
        )
        #expect(bound.bindName == "cn=pg b,dc=x")
        #expect(bound.bindPassword == "a\"b #")
        let rfc = try search("ldapurl=\"ldaps://h/ou%3dx%20y?mail,cn?one\"")
        #expect(rfc.base == "ou=x y" && rfc.attribute == "mail" && rfc.scope == .oneLevel)
        #expect(try search("ldapurl=ldap:///dc=x").scope == .base)
        #expect(try search("ldapurl=\"ldap://h/dc=x???(cn=$username)\"").filter == "(cn=$username)")
    }

    @Test(
        "servers and ports",
        arguments: [
            (
                "ldapserver=\"a b:1 [::1] [::1]:2 fe80::1\" ldapport=7",
                [
                    "ldap://a:7", "ldap://b:1", "ldap://[::1]:7", "ldap://[::1]:2",
                    "ldap://[fe80::1]:7",
                ]
            ),
            ("ldapserver=a ldapscheme=ldaps", ["ldaps://a:636"]),
            ("ldapurl=ldaps://a/dc=y ldapport=1", ["ldaps://a:1"]),
            ("ldapurl=ldap:///dc=y", []),
        ] as [(String, [String])])
    func servers(options: String, expected: [String]) throws {
        let more = options.contains("ldapurl") ? "" : " ldapbasedn=dc=x"
        #expect(try LDAPDirectory(options: options + more).servers == expected)
    }

    @Test("who hears passwords")
    func clear() throws {
        func isInTheClear(_ options: String) throws -> Bool {
            try LDAPDirectory(options: options + " ldapsuffix=@x").isInTheClear
        }
        #expect(try isInTheClear("ldapserver=\"localhost a\""))
        #expect(try !isInTheClear("ldapserver=a ldaptls=1"))
        #expect(try !isInTheClear("ldapserver=a ldapscheme=ldaps"))
        #expect(try !isInTheClear("ldapserver=\"localhost 127.0.0.1 ::1\""))
    }

    @Test(
        "mistakes",
        arguments: [
            ("", "none of ldapbasedn"),
            ("ldapserver=a", "none of ldapbasedn"),
            ("ldapserver=a ldapprefix=x ldapbasedn=y", "ldapbasedn belongs to a search"),
            (
                "ldapserver=a ldapbasedn=y ldapsearchattribute=u ldapsearchfilter=$username",
                "beside"
            ),
            ("ldapserver=a ldapbasedn=y ldapsearchfilter=(uid=joe)", "does not ask for $username"),
            ("ldapserver=a ldapbasedn=y ldapsearchattribute=u)(x", "no name of an attribute"),
            ("ldapserver=a ldapsuffix=,dc=x", "ldapsuffix has no value"),
            ("ldapsuffix=@x", "ldapserver is missing"),
            ("ldapserver=a ldapsuffix=@x ldapport=0", "ldapport"),
            ("ldapserver=a ldapsuffix=@x ldapport=65536", "ldapport"),
            ("ldapserver=a ldapsuffix=@x ldaptls=true", "ldaptls is neither"),
            ("ldapserver=a ldapsuffix=@x ldaptls=1 ldapscheme=ldaps", "already"),
            ("ldapserver=a ldapsuffix=@x ldapscheme=ldapi", "ldapscheme"),
            ("ldapserver=ldap://a ldapsuffix=@x", "which is no host"),
            ("ldapserver=a ldapserver=b ldapsuffix=@x", "twice"),
            ("ldapserver=a ldapsuffix=\"@x", "not closed"),
            ("ldapserver=a ldapbase=x", "\"ldapbase\" of the LDAP options"),
            ("ldapurl=a/dc=x", "no URL"),
            ("ldapurl=ldapi://a/dc=x", "neither ldap://"),
            ("ldapurl=ldap://a/dc=x??deep", "scope"),
            ("ldapurl=ldap://a/dc=%0x", "hexadecimal"),
            ("ldapurl=ldap://a/dc=%00", "hexadecimal"),
            ("ldapurl=ldap://a/dc=x??sub?($username)?!e", "extensions"),
        ])
    func mistakes(options: String, reason: String) {
        #expect {
            _ = try LDAPDirectory(options: options)
        } throws: { error in
            (error as? LDAPOptionsError)?.reason.contains(reason) == true
        }
    }

    @Test("what is beside a password is not quoted: it may be a part of it")
    func secrets() {
        #expect {
            _ = try LDAPDirectory(options: "ldapbindpasswd=very secret=word")
        } throws: { error in
            !"\(error)".contains("secret") && !"\(error)".contains("very")
        }
    }

    @Test("no name of a user changes the question")
    func escapes() throws {
        let one = try search("ldapserver=a ldapbasedn=dc=x")
        #expect(one.filter(for: "a*)(b\\") == "(uid=a\\2a\\29\\28b\\5c)")
        #expect(one.decoy(for: "a,b") == "uid=a\\,b,dc=x")
        let twice = try search("ldapserver=a ldapbasedn=dc=x ldapsearchfilter=$username$username")
        #expect(twice.filter(for: "$username") == "$username$username")
        func name(_ user: String, _ prefix: String) -> String? {
            LDAPDirectory.name(of: user, prefix: prefix, suffix: prefix.isEmpty ? "@x" : ",dc=x")
        }
        #expect(name("joe", "cn=") == "cn=joe,dc=x")
        #expect(name(" #a,b+c=d ", "cn=") == "cn=\\ #a\\,b\\+c\\=d\\ ,dc=x")
        #expect(name("#\"<>;\\", "cn=") == "cn=\\#\\\"\\<\\>\\;\\\\,dc=x")
        #expect(name("joe.x+y", "") == "joe.x+y@x")
        for user in ["cn=joe", "a,b", "D\\joe", "a\nb"] { #expect(name(user, "") == nil) }
    }
}
