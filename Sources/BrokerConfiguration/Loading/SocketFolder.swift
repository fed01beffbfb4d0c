// SPDX-License-Identifier: Apache-2.0

/// Where the Unix socket goes when nothing is configured.
package enum SocketFolder {
    /// `sun_path` less its terminator.
    static let longestPath = 107
    /// "/.s.PGSQL.65535"
    static let longestFileName = 15

    /// The first folder of the list that can be used.
    static func choose(
        environment: [String: String], canUse: (String) -> Bool
    ) -> String {
        candidates(environment: environment).first { $0.hasPrefix("@") || canUse($0) } ?? lastResort
    }

    static let lastResort = "/tmp"

    /// Where a broker may have put its socket when nothing is configured, in the order of its choice.
    package static func all(environment: [String: String]) -> [String] {
        candidates(environment: environment) + [lastResort]
    }

    private static func candidates(environment: [String: String]) -> [String] {
        var candidates: [String] = []
        if let folder = environment["PGLEASE_RUNTIME_DIR"] { candidates.append(folder) }
        // systemd lists several folders with colons between them.
        if let folders = environment["RUNTIME_DIRECTORY"] {
            candidates += folders.split(separator: ":").prefix(1).map(String.init)
        }
        candidates.append("/run/pglease")
        if let folder = environment["XDG_RUNTIME_DIR"], !folder.isEmpty {
            candidates.append(folder + "/pglease")
        }
        return candidates.filter {
            ($0.hasPrefix("/") || $0.hasPrefix("@"))
                && $0.utf8.count + longestFileName <= longestPath
        }
    }
}
