// SPDX-License-Identifier: Apache-2.0

/// The part of the table about what clients of transaction pools have in their sessions.
extension Settings {
    static let sessionSettings: [SettingDescription] = [
        SettingDescription(
            "session_state", \.sessionState, .choice,
            "What becomes of what a client of a transaction pool has in its session. keep: what can "
                + "follow it to other connections does (settings, role, prepared statements), what "
                + "cannot (temporary objects, cursors WITH HOLD, session advisory locks) pins its "
                + "lease: it keeps the connection until that is gone. refuse: what cannot follow is "
                + "an error. drop: it is lost at the end of the transaction, as in pgbouncer."),
        SettingDescription(
            "isolation", \.isolation, .choice,
            "When a connection of a transaction pool is cleaned before the next client has it: "
                + "tracked, when its text or its tags say that something may have been left; "
                + "strict, always."),
        SettingDescription(
            "pin_notice", \.pinNotice, .boolean,
            "Tell a client, once and by a NOTICE, that its lease is pinned and by what."),
        SettingDescription(
            "pin_timeout", \.pinTimeout, .optionalDuration,
            "A pinned lease in which nothing ran for so long is revoked, and its client's session "
                + "ends with the reason. 0 is off."),
        SettingDescription(
            "pin_reserve", \.pinReserve, .integer(0...100_000),
            "Connections of each pool, of those that it may have without its reserve, that pins "
                + "leave alone: a client that would pin one of them waits for a place, as long as "
                + "query_wait_timeout."),
    ]
}
