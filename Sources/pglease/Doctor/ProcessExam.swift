// SPDX-License-Identifier: Apache-2.0

import Broker
import BrokerConfiguration
import LibUV
import OperatorTools

/// The limit of open files against what the settings may need.
struct ProcessExam {
    private(set) var findings: [Finding] = []

    init(_ settings: Settings, _ process: BrokerProcessFacts?) {
        let needed = Broker.descriptorsNeeded(settings)
        let sum =
            "max_client_conn \(settings.maxClientConn), servers and \(Broker.ownDescriptors) of its own need \(needed)"
        guard let limit = process?.openFiles else {
            let own = Int(clamping: Descriptor.limit.hard)
            guard process == nil, own < needed else { return }
            findings.append(
                .warning(
                    "open files", "started from here the broker would have \(own): \(sum)",
                    do: "LimitNOFILE= of the unit, or ulimit -n; or lower max_client_conn"))
            return
        }
        findings.append(
            limit < needed
                ? .wrong(
                    "open files", "the broker may have \(limit): \(sum)",
                    do: "LimitNOFILE= of the unit, or ulimit -n; or lower max_client_conn")
                : .ok("open files", "the broker may have \(limit): \(sum)"))
    }
}
