// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration
import OperatorTools
import PostgresProbe

/// Whether a broker answers, which one it is, and what its console shows.
struct BrokerExam {
    private static let topic = "broker"

    private(set) var findings: [Finding] = []
    /// nil: none answers over a Unix socket, or it cannot be seen from here.
    private(set) var process: BrokerProcessFacts?
    /// nil: the console did not answer.
    private(set) var reading: BrokerReading?
    /// Where one answered.
    private(set) var place: BrokerPlace?

    init(
        _ options: BrokerAddressOptions, _ loaded: LoadedConfiguration?,
        _ environment: [String: String]
    ) {
        let places: BrokerPlaces
        if let loaded {
            places = BrokerPlaces(options, loaded, environment)
        } else {
            places = BrokerPlaces(withoutConfiguration: options, environment)
        }
        let search = BrokerSearch(
            places, user: options.userName(environment), timeout: .seconds(options.timeout))
        if let (place, text) = search.refusal {
            self.place = place
            findings.append(
                .wrong(
                    Self.topic, "the broker at \(place.address) turns clients away: \(text)",
                    do: "a full one needs a higher max_client_conn; one that ends, a start"))
            return
        }
        guard let (place, answer) = search.found else {
            let asked = search.searched.joined(separator: "; ")
            findings.append(
                .wrong(
                    Self.topic, "no broker answers: \(asked.isEmpty ? "nowhere to look" : asked)",
                    do:
                        "start it (systemctl start pglease), or say where it is: --config, --host, --port"
                ))
            return
        }
        self.place = place
        if case .unix(let path) = place.address { process = BrokerProcessFacts(listeningOn: path) }
        judge(place, answer)
        read(options, place, environment)
    }

    private mutating func judge(_ place: BrokerPlace, _ answer: BrokerPing.Answer) {
        let name = process.map { ", process \($0.processID), \($0.shownUser)" } ?? ""
        if let reason = answer.reasonNotReady {
            findings.append(
                .wrong(
                    Self.topic, "\(place.address) answers\(name), and is not ready: \(reason)",
                    do: "see what is wrong below; SHOW EVENTS has the history"))
        } else {
            findings.append(.ok(Self.topic, "\(place.address) is ready\(name)"))
        }
        if answer.version != ProductVersion.text {
            findings.append(
                .warning(
                    "version", "pglease \(answer.version) runs, and this is \(ProductVersion.text)",
                    do: "pglease serve --replace, or a restart, puts the new one in its place"))
        } else if process?.isReplacedOnDisk == true {
            findings.append(
                .warning(
                    "version", "the program on the disk has changed since the broker was started",
                    do: "pglease serve --replace, or a restart, puts the new one in its place"))
        } else {
            findings.append(.ok("version", "pglease \(answer.version), as this program"))
        }
    }

    private mutating func read(
        _ options: BrokerAddressOptions, _ place: BrokerPlace, _ environment: [String: String]
    ) {
        let console = ConsoleConnection(
            at: place, user: options.userName(environment), program: "doctor",
            timeout: .seconds(options.timeout))
        do throws(ConsoleFailure) {
            reading = try console.read()
        } catch {
            let remedy =
                switch error {
                case .refused(_, let hint):
                    hint ?? "run it as the broker's user or as root, or be in stats_users (--user)"
                case .noAnswer: "see whether it still runs, and try again"
                }
            findings.append(
                .warning(
                    "console", "pools, leases and waiters are not looked at: \(error.what)",
                    do: remedy))
        }
    }
}

extension ConsoleFailure {
    fileprivate var what: String {
        switch self {
        case .refused(let text, _), .noAnswer(let text): text
        }
    }
}
