// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibPAM
import Logging
import PostgresWire

/// `auth_type = pam`, and rules of that method: PAM knows the users, and `auth_file` is not asked.
extension Broker {
    func askForPAM(_ client: ClientConnection, _ service: String?) {
        client.login?.exchange = .awaitsPasswordForPAM(service: service)
        var bytes: [UInt8] = []
        bytes.appendAuthenticationCleartextPassword()
        send(bytes, to: client)
    }

    /// Without a service of the rule's it is pgbouncer's, for who comes from there.
    func askPAM(_ password: [UInt8], _ client: ClientConnection, _ service: String?) {
        let (service, user) = (service ?? configuration.flavour.rawValue, client.user)
        let host = client.networkAddress.map { "\($0)" } ?? ""
        workOut(for: client, in: .pam) {
            PAMLogin.check(service: service, user: user, password: password, host: host)
        } then: { broker, client, outcome in
            switch outcome {
            case .letIn: broker.judge(true, password, client)
            case .refused(let reason):
                broker.logger.notice(
                    "PAM refuses a login",
                    metadata: broker.describe(
                        client, with: ["service": "\(service)", "reason": "\(reason)"]))
                broker.fail(
                    client,
                    .fatal(.invalidPassword, "PAM authentication failed for user \"\(user)\""))
            }
        }
    }
}
