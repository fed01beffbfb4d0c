// SPDX-License-Identifier: Apache-2.0

/// Ends the process: the shell broke the scheduler's contract, or the scheduler its own. Going on
/// could give one connection to two clients.
func contractBroken(_ reason: @autoclosure () -> String) -> Never {
    fatalError("scheduler: \(reason())")
}
