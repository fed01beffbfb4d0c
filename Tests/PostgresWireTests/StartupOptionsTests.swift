// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

/// The tables are what PostgreSQL 15.20 did with the same text in its startup parameter `options`.
@Suite("The startup parameter options")
struct StartupOptionsTests {
    @Test(
        "What sets what",
        arguments: [
            ("", []),
            ("   ", []),
            ("-c statement_timeout=30000", ["statement_timeout=30000"]),
            ("-cDateStyle=german", ["DateStyle=german"]),
            ("--intervalstyle=iso_8601", ["intervalstyle=iso_8601"]),
            ("-c application-name=x", ["application_name=x"]),
            ("--a-b=c-d", ["a_b=c-d"]),
            ("-c x.y=5", ["x.y=5"]),
            ("-c a=", ["a="]),
            ("-c a=b=c", ["a=b=c"]),
            ("-c a=1\t-c\nb=2", ["a=1", "b=2"]),
            ("-c application_name=a\\ b", ["application_name=a b"]),
            ("-c application_name=a\\\\b", ["application_name=a\\b"]),
            ("\\-c a=x", ["a=x"]),
            ("-c a=x\\", ["a=x"]),
            ("-e", ["datestyle=euro"]),
            ("-F", ["fsync=false"]),
            ("-fs", ["enable_seqscan=false"]),
            ("-f h -fi", ["enable_hashjoin=false", "enable_indexscan=false"]),
            ("-fsi", ["enable_seqscan=false"]),
            ("-S 100", ["work_mem=100"]),
            ("-d 0", ["log_min_messages=notice"]),
            ("-d abc", ["log_min_messages=notice"]),
            ("-d 2", ["log_min_messages=debug2", "log_statement=all"]),
            (
                "-d5",
                [
                    "log_min_messages=debug5", "log_statement=all", "debug_print_parse=true",
                    "debug_print_plan=true", "debug_print_rewritten=true",
                ]
            ),
            ("-t pa", ["log_parser_stats=true"]),
            ("-tplanner", ["log_planner_stats=true"]),
            ("-te", ["log_executor_stats=true"]),
            ("-s", ["log_statement_stats=true"]),
            ("-eO", ["datestyle=euro", "allow_system_table_mods=true"]),
            ("-ecx=1", ["datestyle=euro", "x=1"]),
            ("-bEnTj", []),
            ("-C x -v 3 -D x -r x", []),
            ("-W 0", ["post_auth_delay=0"]),
            ("-P -l -i", ["ignore_system_indexes=true", "ssl=true", "listen_addresses=*"]),
            (
                "-B 1 -h a -k b -N 5 -p 6",
                [
                    "shared_buffers=1", "listen_addresses=a", "unix_socket_directories=b",
                    "max_connections=5", "port=6",
                ]
            ),
            ("-c a=1 --", ["a=1"]),
        ] as [(String, [String])])
    func accepted(options: String, settings: [String]) throws {
        let found = try StartupOptions.parse(options)
        #expect(found.map { "\($0.name)=\($0.value)" } == settings)
    }

    @Test(
        "What is refused, and by which name",
        arguments: [
            ("-x", WireError.unknownOption("-x")),
            ("-fx", .unknownOption("-fx")),
            ("-tx", .unknownOption("-tx")),
            ("foo", .unknownOption("foo")),
            ("-e foo", .unknownOption("foo")),
            ("-", .unknownOption("-")),
            ("-1", .unknownOption("-1")),
            ("-c", .unknownOption("-c")),
            ("-S", .unknownOption("-S")),
            ("-D", .unknownOption("-D")),
            ("-- x", .unknownOption("x")),
            ("-é", .unknownOption("-é")),
            ("-c foo", .optionWithoutValue("-c foo")),
            ("--foo", .optionWithoutValue("--foo")),
            ("-c =5", .unknownOption("-c =5")),
        ])
    func refused(options: String, error: WireError) {
        #expect(throws: error) { try StartupOptions.parse(options) }
    }
}
