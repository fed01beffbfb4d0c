// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// SHOW EVENTS: what happened of late, oldest first.
extension BrokerSnapshot {
    func showEvents(into rows: inout ConsoleRows) {
        for event in events {
            rows.add {
                $0.integer(event.id)
                $0.text(event.time.consoleText)
                $0.integer((now - event.last).wholeMicroseconds)
                $0.text(event.kind)
                $0.text(event.level)
                $0.text(event.database)
                $0.text(event.user)
                $0.text(event.group)
                $0.text(event.applicationName)
                $0.integer(event.client)
                $0.integer(event.clientProcess)
                $0.integer(event.lease)
                $0.integer(event.count)
                $0.text(event.message)
            }
        }
    }
}
