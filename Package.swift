// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// What every target of ours is built with: Swift 6 mode and no warning left standing.
let house: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // The modules are one program: without the first, every small function of another module is a
    // call through a witness table. Debug builds, which the tests run, check exclusivity.
    .unsafeFlags(
        ["-cross-module-optimization", "-enforce-exclusivity=unchecked"],
        .when(configuration: .release)),
]

/// Where C is wrapped, every unsafe use is marked as such.
let wrapsC: [SwiftSetting] = house + [.strictMemorySafety()]

let package = Package(
    name: "pglease",
    products: [
        .executable(name: "pglease", targets: ["pglease"]),
        .executable(name: "pglease-workers", targets: ["pglease-workers"]),
        .library(name: "LeaseClient", targets: ["LeaseClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        // Pure: no C, no Foundation, no clock, no randomness of their own.
        .target(name: "PostgresWire", swiftSettings: house),
        .target(
            name: "LeaseCore",
            dependencies: [
                "PostgresWire",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: house
        ),

        // C libraries of the system, and the modules that own what they hand out.
        .systemLibrary(name: "CLibUV", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CPAM", pkgConfig: "pam", providers: [.apt(["libpam0g-dev"])]),
        .systemLibrary(name: "CLDAP", pkgConfig: "ldap", providers: [.apt(["libldap-dev"])]),
        .systemLibrary(
            name: "CMicroHTTPD", pkgConfig: "libmicrohttpd",
            providers: [.apt(["libmicrohttpd-dev"])]),
        .target(name: "LibUV", dependencies: ["CLibUV"], swiftSettings: wrapsC),
        .target(name: "LibPQ", dependencies: ["CLibPQ", "COpenSSL"], swiftSettings: wrapsC),

        // Who else knows users and their passwords.
        .target(name: "LibPAM", dependencies: ["CPAM"], swiftSettings: wrapsC),
        .target(name: "LibLDAP", dependencies: ["CLDAP"], swiftSettings: wrapsC),

        // TLS for clients.
        .target(name: "LibSSL", dependencies: ["COpenSSL", "LibUV"], swiftSettings: wrapsC),

        // HTTP for figures, and the texts that are served.
        .target(
            name: "StatusHTTP", dependencies: ["CMicroHTTPD", "LibUV"],
            resources: [.embedInCode("Page/status.html")], swiftSettings: wrapsC),

        // The client module.
        .target(
            name: "LeaseClient", dependencies: ["LibPQ", "PostgresWire"], exclude: ["README.md"],
            swiftSettings: house),

        // The two managers. All their work is done over leases, but for one thing: logical decoding
        // needs a walsender's own connection, which no broker can lease. That is LibPQ's
        // `ReplicationStream`; LibPQ also opens encrypted passwords, as it owns OpenSSL, and has
        // the wakeup that threads wait on. PostgresWire quotes names and reads base64.
        .target(
            name: "Workers",
            dependencies: [
                "LeaseClient", "LibPQ", "PostgresWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),
        .executableTarget(
            name: "pglease-workers",
            dependencies: [
                "Workers", "LeaseClient",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),

        // The table of settings, behind file, environment, command line, SHOW CONFIG and reload.
        // Pure: what it needs of the disk is handed in.
        .target(
            name: "BrokerConfiguration", dependencies: ["PostgresWire"], swiftSettings: house),

        // Who may log in: the user list, SCRAM and SASLprep. Pure: the arithmetic is handed in.
        .target(
            name: "BrokerAuthentication", dependencies: ["PostgresWire"], swiftSettings: house),

        // A client's connection that waits, for those outside the event loop: `pglease ping`, and the
        // set-up of the private PostgreSQL.
        .target(name: "PostgresProbe", dependencies: ["PostgresWire"], swiftSettings: house),

        // The private PostgreSQL (--embedded): a child process and its folder.
        .target(
            name: "EmbeddedPostgres",
            dependencies: [
                "LibUV", "PostgresProbe", "PostgresWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),

        // The console: its protocol, its statements, and its tables, made from a snapshot. Pure.
        .target(
            name: "BrokerConsole", dependencies: ["LeaseCore", "PostgresWire"], swiftSettings: house
        ),

        // The shell: sockets to machines, effects to sockets.
        .target(
            name: "Broker",
            dependencies: [
                "BrokerAuthentication", "BrokerConfiguration", "BrokerConsole", "PostgresProbe",
                "PostgresWire", "LeaseCore", "LibUV", "LibPQ", "LibLDAP", "LibPAM", "LibSSL",
                "StatusHTTP",
                .product(name: "Logging", package: "swift-log"),
            ],
            resources: [.embedInCode("Sharing/share.sql")],
            swiftSettings: house
        ),
        // What pglease stat, leases and top make of the console's answers. Pure.
        .target(name: "OperatorTools", swiftSettings: house),
        .executableTarget(
            name: "pglease",
            dependencies: [
                "Broker", "BrokerConfiguration", "EmbeddedPostgres", "LibPQ", "LibUV",
                "OperatorTools", "PostgresProbe",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house
        ),

        // The fake world that LeaseCore is run in, by the tests and by scripts/simulate.
        .target(
            name: "LeaseSimulation",
            dependencies: [
                "LeaseCore", "PostgresWire",
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            path: "Tests/LeaseSimulation",
            swiftSettings: house
        ),
        // What is done for every query, to be measured and counted.
        .target(name: "CAllocations", path: "Benchmarks/CAllocations"),
        .target(
            name: "HotPaths", dependencies: ["CAllocations", "LeaseCore", "PostgresWire"],
            path: "Benchmarks/HotPaths", swiftSettings: house),
        .executableTarget(
            name: "pglease-simulate",
            dependencies: [
                "HotPaths", "LeaseSimulation",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/pglease-simulate",
            swiftSettings: house
        ),

        // A private PostgreSQL, and what else tests need of the machine.
        .target(
            name: "PostgresFixture", path: "Tests/PostgresFixture", swiftSettings: house),

        .testTarget(
            name: "PostgresFixtureTests", dependencies: ["PostgresFixture"], swiftSettings: house),
        .testTarget(
            name: "PostgresWireTests", dependencies: ["PostgresWire"], swiftSettings: house),
        .testTarget(
            name: "LeaseCoreTests", dependencies: ["LeaseCore", "PostgresWire", "LeaseSimulation"],
            swiftSettings: house),
        .testTarget(name: "HotPathsTests", dependencies: ["HotPaths"], swiftSettings: house),
        .testTarget(
            name: "StatusHTTPTests", dependencies: ["StatusHTTP", "LibUV"], swiftSettings: house),
        .testTarget(name: "LibSSLTests", dependencies: ["LibSSL"], swiftSettings: house),
        .testTarget(name: "LibUVTests", dependencies: ["LibUV"], swiftSettings: house),
        .testTarget(
            name: "LibPQTests", dependencies: ["LibPQ", "LibUV", "PostgresFixture"],
            swiftSettings: house),
        .testTarget(
            name: "LeaseClientTests",
            dependencies: ["LeaseClient", "LibPQ", "PostgresFixture", "pglease", "lease-forks"],
            swiftSettings: house),
        // Forks, for the tests of the client module.
        .executableTarget(
            name: "lease-forks", dependencies: ["LeaseClient"], path: "Tests/lease-forks",
            swiftSettings: house),
        .testTarget(
            name: "WorkersTests",
            dependencies: [
                "Workers", "LeaseClient", "LibPQ", "PostgresFixture", "pglease", "pglease-workers",
            ],
            swiftSettings: house),
        .testTarget(
            name: "OperatorToolsTests", dependencies: ["OperatorTools"], swiftSettings: house),
        .testTarget(
            name: "BrokerConfigurationTests",
            dependencies: ["BrokerConfiguration", "PostgresWire"],
            swiftSettings: house),
        .testTarget(
            name: "BrokerAuthenticationTests",
            dependencies: ["BrokerAuthentication", "PostgresWire"],
            swiftSettings: house),
        .testTarget(
            name: "PostgresProbeTests", dependencies: ["PostgresProbe", "PostgresWire"],
            swiftSettings: house),
        .testTarget(
            name: "EmbeddedPostgresTests",
            dependencies: [
                "EmbeddedPostgres", "PostgresProbe", "PostgresWire",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: house),
        .testTarget(
            name: "BrokerConsoleTests",
            dependencies: ["BrokerConsole", "LeaseCore", "PostgresWire"],
            swiftSettings: house),
        .testTarget(
            name: "BrokerTests",
            dependencies: [
                "Broker", "BrokerConfiguration", "BrokerConsole", "LeaseCore", "LeaseSimulation",
                "LibPQ", "PostgresFixture", "PostgresWire",
            ],
            swiftSettings: house),
    ]
)
