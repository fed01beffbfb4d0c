import Glibc

/// Where the Unix socket goes when nothing is configured.
enum SocketFolder {
    /// `sun_path` less its terminator.
    static let longestPath = 107
    /// "/.s.PGSQL.65535"
    static let longestFileName = 15

    /// The first folder of the list that can be used; clients look for it in the same order.
    static func choose(
        environment: [String: String], canUse: (String) -> Bool
    ) -> String {
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
        let fits = candidates.filter {
            ($0.hasPrefix("/") || $0.hasPrefix("@"))
                && $0.utf8.count + longestFileName <= longestPath
        }
        return fits.first { $0.hasPrefix("@") || canUse($0) } ?? "/tmp"
    }

    /// A folder that can be written, or one that can be made because its parent can.
    static func canUse(_ folder: String) -> Bool {
        if access(folder, F_OK) == 0 {
            return access(folder, W_OK | X_OK) == 0
        }
        guard let slash = folder.lastIndex(of: "/"), slash != folder.startIndex else {
            return false
        }
        return access(String(folder[..<slash]), W_OK | X_OK) == 0
    }
}
