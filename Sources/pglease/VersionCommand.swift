// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import Glibc

/// `pglease version`: what this is and what it runs on, for a report of an error.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Print the versions of pglease and of the libraries that it runs on.")

    mutating func run() {
        Output.line("pglease \(ProductVersion.text)")
        Output.line("Swift   \(Self.compiler)")
        Output.line("libpq   \(LibraryVersions.libpq ?? "unknown")")
        Output.line("libuv   \(LibraryVersions.libuv ?? "unknown")")
        Output.line("OpenSSL \(LibraryVersions.openSSL ?? "unknown")")
        Output.line("libmicrohttpd \(LibraryVersions.libmicrohttpd ?? "unknown")")
    }

    private static var compiler: String {
        #if compiler(>=6.4)
            "6.4 or later"
        #elseif compiler(>=6.3)
            "6.3"
        #else
            "6.2"
        #endif
    }
}

/// The versions of the libraries that are loaded now, which a package upgrade may have changed
/// since the build: asked of the libraries themselves, by name.
private enum LibraryVersions {
    static var libuv: String? {
        symbol("uv_version_string", as: (@convention(c) () -> UnsafePointer<CChar>).self)
            .map { String(cString: $0()) }
    }

    static var libmicrohttpd: String? {
        symbol("MHD_get_version", as: (@convention(c) () -> UnsafePointer<CChar>).self)
            .map { String(cString: $0()) }
    }

    static var openSSL: String? {
        let text = symbol(
            "OpenSSL_version", as: (@convention(c) (Int32) -> UnsafePointer<CChar>).self
        ).map { String(cString: $0(0)) }
        guard let text else { return nil }
        return text.hasPrefix("OpenSSL ") ? String(text.dropFirst("OpenSSL ".count)) : text
    }

    /// 150020 is 15.20.
    static var libpq: String? {
        symbol("PQlibVersion", as: (@convention(c) () -> Int32).self)
            .map { "\($0() / 10_000).\($0() % 10_000)" }
    }

    private static func symbol<Function>(_ name: String, as type: Function.Type) -> Function? {
        guard let address = dlsym(dlopen(nil, RTLD_NOW), name) else { return nil }
        // SAFETY: the C declarations of these functions have been stable for a decade.
        return unsafeBitCast(address, to: type)
    }
}
