import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibPAM
import Logging
import PostgresWire

/// `auth_type = pam`, and rules of that method: PAM knows the users, and `auth_file` is not asked.
extension Broker {
    func askForPAM(_ client: ClientConnection) {
        client.login?.exchange = .awaitsPasswordForPAM
        var bytes: [UInt8] = []
        bytes.appendAuthenticationCleartextPassword()
        send(bytes, to: client)
    }

    /// pgbouncer's name of its service, for who comes from there.
    private var pamService: String { configuration.flavour.rawValue }

    func askPAM(_ password: [UInt8], _ client: ClientConnection) {
        let (service, user) = (pamService, client.user)
        let host = client.networkAddress.map { "\($0)" } ?? ""
        workOut(for: client, in: .pam) {
            PAMLogin.check(service: service, user: user, password: password, host: host)
        } then: { broker, client, outcome in
            if case .refused(let reason) = outcome {
                broker.logger.notice(
                    "PAM refuses a login",
                    metadata: broker.describe(
                        client, with: ["service": "\(service)", "reason": "\(reason)"]))
            }
            broker.judge(outcome == .letIn, password, client)
        }
    }
}
