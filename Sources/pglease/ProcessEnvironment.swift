// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration

/// The environment that this process was started with.
enum ProcessEnvironment {
    /// Read from /proc: `environ` is a global variable that C may change at any time.
    static func read() throws(ExitCode) -> [String: String] {
        let bytes: [UInt8]
        do throws(FileReadError) {
            bytes = try FileSystem.readBytes("/proc/self/environ")
        } catch {
            Output.error("pglease: /proc/self/environ: \(error.reason): is /proc mounted?")
            throw ExitCode(ExitStatus.operatingSystem)
        }
        var environment: [String: String] = [:]
        for entry in bytes.split(separator: 0) {
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let name = String(decoding: entry[..<equals], as: UTF8.self)
            environment[name] = String(decoding: entry[(equals + 1)...], as: UTF8.self)
        }
        return environment
    }
}
