// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// One bound that this broker shares with those of other hosts.
package struct ShareFacts: Sendable {
    package enum State: String, Sendable {
        /// Connections may be opened, within the share.
        case open
        /// The table is being asked, or about to be: nothing is opened before it answers.
        case asking
        /// It cannot be asked.
        case failing
    }

    package let bound: String
    /// The line of [databases] in whose database the table is.
    package let database: String
    package let state: State
    /// nil: before the first answer.
    package let answer: ShareAnswer?
    package let need: ShareNeed
    package let weight: Int
    package let questions: Int
    /// This run of the broker, as the table calls it.
    package let holder: String
    package let error: String?

    package init(
        bound: String, database: String, state: State, answer: ShareAnswer?, need: ShareNeed,
        weight: Int, questions: Int, holder: String, error: String?
    ) {
        self.bound = bound
        self.database = database
        self.state = state
        self.answer = answer
        self.need = need
        self.weight = weight
        self.questions = questions
        self.holder = holder
        self.error = error
    }
}
