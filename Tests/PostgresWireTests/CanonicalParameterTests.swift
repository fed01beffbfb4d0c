// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

/// The tables are what PostgreSQL 15.20 reported for the same value in a startup packet.
@Suite("The spelling that PostgreSQL reports")
struct CanonicalParameterTests {
    @Test(
        "From PostgreSQL 16 on a name shows its bytes",
        arguments: [
            ("15.4", "caf??"), ("16.0", "caf\\xc3\\xa9"), ("18beta1", "caf\\xc3\\xa9"),
        ])
    func bytesOfNames(version: String, reported: String) {
        #expect(
            CanonicalParameter.value(
                name: "application_name", value: "café", serverVersion: version) == reported)
    }

    @Test(
        "Encodings",
        arguments: [
            ("utf-8", "UTF8"), ("utf8", "UTF8"), ("unicode", "UTF8"), ("Latin1", "LATIN1"),
            ("latin-1", "LATIN1"), ("ISO-8859-1", "LATIN1"), ("iso88591", "LATIN1"),
            ("win1252", "WIN1252"), ("windows-1252", "WIN1252"), ("sql_ascii", "SQL_ASCII"),
            ("sjis", "SJIS"), ("shift_jis", "SJIS"), ("mskanji", "SJIS"), ("euc_jp", "EUC_JP"),
            ("koi8", "KOI8R"), ("latin10", "LATIN10"), ("abc", "WIN1258"), ("win", "WIN1251"),
            ("tcvn", "WIN1258"), ("alt", "WIN866"), ("shiftjis2004", "SHIFT_JIS_2004"),
            ("eucjis2004", "EUC_JIS_2004"), ("windows949", "UHC"), ("windows936", "GBK"),
            ("windows950", "BIG5"), ("", nil), ("utf16", nil), ("latin11", nil),
        ] as [(String, String?)])
    func encodings(value: String, reported: String?) {
        #expect(
            CanonicalParameter.value(name: "Client_Encoding", value: value) == reported)
    }

    @Test(
        "DateStyle",
        arguments: [
            ("iso", "ISO, MDY"), ("german", "German, DMY"), ("sql, dmy", "SQL, DMY"),
            ("postgres", "Postgres, MDY"), ("Postgresql", "Postgres, MDY"), ("euro", "ISO, DMY"),
            ("european", "ISO, DMY"), ("us", "ISO, MDY"), ("noneuropean", "ISO, MDY"),
            ("ymd", "ISO, YMD"), ("ISO, YMD", "ISO, YMD"), ("german, mdy", "German, MDY"),
            ("default", "ISO, MDY"), ("", "ISO, MDY"), (" iso ", "ISO, MDY"),
            ("\"ISO\"", "ISO, MDY"), ("iso,iso", "ISO, MDY"), ("SQL,EURO", "SQL, DMY"),
            ("postgres_x", "Postgres, MDY"), ("us,mdy", "ISO, MDY"),
            ("german,german", "German, DMY"), ("dmy,german", "German, DMY"),
            ("default,dmy", "ISO, DMY"), ("german,default", "German, MDY"),
            ("default,sql,dmy", "SQL, DMY"), ("dmy,default", "ISO, DMY"), ("iso,sql", nil),
            ("dmy,mdy", nil), ("sql european", nil), ("iso,german", nil), ("\"iso", nil),
            ("iso,", nil), ("x", nil),
        ] as [(String, String?)])
    func dateStyle(value: String, reported: String?) {
        #expect(CanonicalParameter.value(name: "datestyle", value: value) == reported)
    }

    @Test("DateStyle keeps what the client does not name")
    func dateStyleBase() {
        func value(_ value: String, _ base: String) -> String? {
            CanonicalParameter.value(name: "DateStyle", value: value, base: base)
        }
        #expect(value("iso", "German, DMY") == "ISO, DMY")
        #expect(value("ymd", "SQL, MDY") == "SQL, YMD")
        #expect(value("default", "Postgres, YMD") == "Postgres, YMD")
        #expect(value("german", "ISO, YMD") == "German, DMY")
    }

    @Test(
        "IntervalStyle, booleans, time zone, application name",
        arguments: [
            ("intervalstyle", "POSTGRES", "postgres"), ("IntervalStyle", "Iso_8601", "iso_8601"),
            ("IntervalStyle", "sql_standard", "sql_standard"),
            ("IntervalStyle", "postgres_verbose", "postgres_verbose"),
            ("IntervalStyle", "x", nil), ("IntervalStyle", " postgres", nil),
            ("standard_conforming_strings", "t", "on"),
            ("standard_conforming_strings", "TRUE", "on"),
            ("standard_conforming_strings", "0", "off"),
            ("standard_conforming_strings", "of", "off"),
            ("standard_conforming_strings", "o", nil),
            ("standard_conforming_strings", "y", "on"),
            ("standard_conforming_strings", "NO", "off"),
            ("standard_conforming_strings", "1", "on"),
            ("standard_conforming_strings", " on ", nil),
            ("standard_conforming_strings", "fal", "off"),
            ("default_transaction_read_only", "ON", "on"),
            ("timezone", "utc", "UTC"), ("TimeZone", "Asia/Jakarta", "Asia/Jakarta"),
            ("application_name", "é x\tz", "?? x?z"), ("application_name", "", ""),
            (
                "application_name", String(repeating: "a", count: 80),
                String(repeating: "a", count: 63)
            ),
            ("statement_timeout", "5", nil), ("server_version", "5", nil),
        ] as [(String, String, String?)])
    func others(name: String, value: String, reported: String?) {
        #expect(CanonicalParameter.value(name: name, value: value) == reported)
    }

    @Test("Names")
    func names() {
        #expect(CanonicalParameter.canonicalName("DATESTYLE") == "DateStyle")
        #expect(CanonicalParameter.canonicalName("timezone") == "TimeZone")
        #expect(CanonicalParameter.canonicalName("intervalStyle") == "IntervalStyle")
        #expect(CanonicalParameter.canonicalName("Statement_Timeout") == "statement_timeout")
        #expect(CanonicalParameter.isReported("APPLICATION_NAME"))
        #expect(!CanonicalParameter.isReported("search_path"))
    }

    @Test("The base set is PostgreSQL's, in its order, and canonical")
    func baseSet() {
        let set = BaseParameters.set(serverVersion: "15.20", user: "ann", isSuperuser: true)
        #expect(set.map(\.0) == CanonicalParameter.reportedNames)
        #expect(set.first { $0.0 == "server_version" }?.1 == "15.20")
        #expect(set.first { $0.0 == "session_authorization" }?.1 == "ann")
        #expect(set.first { $0.0 == "is_superuser" }?.1 == "on")
        for (name, value) in set {
            #expect(CanonicalParameter.canonicalName(name) == name)
            let reported = CanonicalParameter.value(name: name, value: value)
            #expect(reported == nil || reported == value)
        }
    }
}
