// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// SHOW SHARES: a row for each bound that is shared with other hosts.
extension BrokerSnapshot {
    func showShares(into rows: inout ConsoleRows) {
        for share in shares {
            rows.add {
                $0.text(share.bound)
                $0.text(share.database)
                $0.text(share.state.rawValue)
                $0.integer(share.answer?.total)
                $0.integer(share.answer?.share)
                $0.integer(share.answer?.target)
                $0.integer(share.need.used)
                $0.integer(share.need.want)
                $0.integer(share.answer?.free)
                $0.integer(share.answer?.hosts)
                $0.integer(share.weight)
                $0.integer(share.answer.map { Int($0.period) })
                $0.integer(share.questions)
                $0.text(share.holder)
                $0.text(share.error)
            }
        }
    }
}
