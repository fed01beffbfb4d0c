// SPDX-License-Identifier: Apache-2.0

package import BrokerConfiguration
import Glibc
import Logging

/// The part of the configuration that says how lines look and which are made.
extension LogSink {
    /// `isQuiet`: nothing goes to standard error.
    package convenience init(_ settings: Settings, isQuiet: Bool = false) {
        self.init(
            descriptor: isQuiet ? nil : STDERR_FILENO, level: Self.level(of: settings),
            format: settings.logFormat == .json ? .json : .text)
    }

    /// After a reload; the format is kept until a restart.
    package func follow(_ settings: Settings) throws(LogTargetError) {
        try openTargets(settings)
        level = Self.level(of: settings)
    }

    /// pgbouncer's `verbose` asks for more than `log_level` does, never for less.
    private static func level(of settings: Settings) -> Logger.Level {
        let chosen: Logger.Level =
            switch settings.logLevel {
            case .trace: .trace
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            case .critical: .critical
            }
        switch settings.verbose {
        case ..<1: return chosen
        case 1: return min(chosen, .debug)
        default: return .trace
        }
    }
}
