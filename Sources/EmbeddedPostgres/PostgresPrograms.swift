// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Finds programs by name in the folders of PATH.
struct ProgramSearch {
    private let folders: [String]

    init(environment: [String: String]) {
        let path = environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        folders = path.split(separator: ":").map(String.init)
    }

    func find(_ name: String) -> String? {
        folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }
}

/// One installation's server programs.
package struct PostgresPrograms: Equatable, Sendable {
    package var folder: String
    /// 15 for 15.20.
    package var majorVersion: Int

    var initdb: String { "\(folder)/initdb" }
    var postgres: String { "\(folder)/postgres" }

    /// `PGLEASE_POSTGRES_BIN` alone when set; else PATH, `pg_config --bindir` and the folders that
    /// packages use, newest first. With `dataVersion`, the first of that version.
    package static func find(
        environment: [String: String], dataVersion: Int?, dataFolder: String,
        packageFolders: [String] = packageFolders()
    ) throws(EmbeddedPostgresError) -> PostgresPrograms {
        let folders = candidates(environment: environment, packageFolders: packageFolders)
        var found: [PostgresPrograms] = []
        for folder in folders where holdsServer(folder) {
            guard let version = try version(of: "\(folder)/postgres") else { continue }
            let programs = PostgresPrograms(folder: folder, majorVersion: version)
            if dataVersion == nil || dataVersion == version { return programs }
            found.append(programs)
        }
        guard let dataVersion, !found.isEmpty else { throw .programsNotFound(searched: folders) }
        throw .versionMismatch(
            data: dataVersion, folder: dataFolder,
            found: found.map { "PostgreSQL \($0.majorVersion) (\($0.folder))" })
    }

    /// Where distributions put versions side by side, newest first.
    package static func packageFolders() -> [String] {
        let parents = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")]
        var versioned: [(version: Int, folder: String)] = []
        for (parent, prefix) in parents {
            for name in names(in: parent) where name.hasPrefix(prefix) {
                guard let version = Int(name.dropFirst(prefix.count)) else { continue }
                versioned.append((version, "\(parent)/\(name)/bin"))
            }
        }
        return versioned.sorted { $0.version > $1.version }.map(\.folder)
            + ["/usr/local/pgsql/bin"]
    }

    private static func candidates(
        environment: [String: String], packageFolders: [String]
    ) -> [String] {
        if let folder = environment["PGLEASE_POSTGRES_BIN"], !folder.isEmpty { return [folder] }
        let search = ProgramSearch(environment: environment)
        var folders: [String] = []
        if let initdb = search.find("initdb") {
            folders.append(String(initdb.dropLast("/initdb".count)))
        }
        if let program = search.find("pg_config"),
            let output = try? output(of: program, ["--bindir"])
        {
            folders.append(String(output.prefix { !$0.isNewline }))
        }
        for folder in packageFolders where !folders.contains(folder) { folders.append(folder) }
        return folders
    }

    private static func holdsServer(_ folder: String) -> Bool {
        access("\(folder)/initdb", X_OK) == 0 && access("\(folder)/postgres", X_OK) == 0
    }

    /// The major version that `postgres -V` prints; nil when it prints something else.
    private static func version(of program: String) throws(EmbeddedPostgresError) -> Int? {
        let output = try output(of: program, ["-V"])
        guard let number = output.split(separator: " ").first(where: { $0.first!.isNumber })
        else { return nil }
        return Int(number.prefix { $0.isASCII && $0.isNumber })
    }

    private static func output(
        of program: String, _ arguments: [String]
    ) throws(EmbeddedPostgresError) -> String {
        try ServerLauncher(account: nil, environment: [:]).run(program, arguments)
    }

    private static func names(in folder: String) -> [String] {
        guard let handle = opendir(folder) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
                    names.append(String(cString: $0))
                }
            }
        }
        return names
    }
}
