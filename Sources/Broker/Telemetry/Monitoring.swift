// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import LibUV
import Logging
import StatusHTTP

/// The HTTP server of `metrics_listen` and what only it needs. Without the setting nothing is open and
/// nothing is sampled.
final class Monitoring {
    var server: HTTPServer?
    var address: MetricsAddress?
    var sampler: LoopTimer?
    var history = MonitoringHistory()
    var cache = DocumentCache()
    var lag = LoopLag()
    /// Seconds since 1970.
    let startTime = SystemClock.wall

    /// Whether anything is kept for it.
    var isOn: Bool { server != nil }

    /// Idempotent.
    func close() {
        server?.close()
        server = nil
        address = nil
        sampler?.close()
        sampler = nil
        history = MonitoringHistory()
    }
}

extension Broker {
    /// Opens, moves or closes the HTTP server. When it throws, the old one goes on.
    func serveMonitoring(at address: MetricsAddress?) throws(UVError) {
        guard address != monitoring.address, !handover.isReplaced else { return }
        guard let address else {
            monitoring.close()
            logger.notice("metrics are no longer served")
            return
        }
        let former = monitoring.address
        // The new place may contain the old one, as *:9127 does 127.0.0.1:9127.
        if address.overlaps(former) {
            monitoring.server?.close()
            monitoring.server = nil
        }
        let server: HTTPServer
        do throws(UVError) {
            server = try openMonitoring(address)
        } catch {
            if monitoring.server == nil, let former {
                monitoring.server = try? openMonitoring(former)
            }
            throw error
        }
        monitoring.server?.close()
        monitoring.server = server
        monitoring.address = address
        try startSampling()
        logger.notice("metrics are served", metadata: ["address": "\(address.text)"])
    }

    private func openMonitoring(_ address: MetricsAddress) throws(UVError) -> HTTPServer {
        // It may be the folder of the broker's own socket, which is made later.
        if case .unix(let path) = address, let slash = path.lastIndex(of: "/") {
            Self.makeFolder(String(path[..<slash]))
        }
        return try HTTPServer(
            loop: loop, address: address.listenerAddress, mode: UInt16(settings.unixSocketMode),
            group: settings.unixSocketGroup.flatMap(Self.groupID),
            handed: handover.metrics ?? surroundings.adoptedMetrics,
            onError: { [unowned self] error in
                self.logger.error(
                    "accepting a connection of metrics_listen failed",
                    metadata: ["reason": "\(error)"])
            },
            handler: { [unowned self] in self.answerMonitoring($0) })
    }

    /// What to do about an address that could not be taken.
    func monitoringAdvice(_ error: UVError) -> String {
        switch error.name {
        case "EADDRINUSE": "another process listens there: stop it, or change metrics_listen"
        case "EACCES", "EPERM", "EROFS": "this user may not listen there"
        case "ENOENT", "ENOTDIR": "the folder does not exist: make it"
        case "EADDRNOTAVAIL": "this machine has no such address"
        default: "check metrics_listen"
        }
    }

    // MARK: Routes

    private func answerMonitoring(_ request: HTTPRequest) -> HTTPResponse {
        guard isAddressed(request) else {
            return .text(
                "called by the name of another machine: call 127.0.0.1 or localhost", status: 403)
        }
        switch request.path {
        case "/": return StatusPage.response
        case "/metrics": return metrics(accept: request.accept)
        case "/healthz": return .text("ok")
        case "/readyz": return answerReadiness()
        case "/stats.json":
            return monitoring.cache.response(.status, now: loop.now) { statusResponse() }
        default: return .text("not found: /metrics, /healthz, /readyz, /stats.json", status: 404)
        }
    }

    /// What is served to this machine only must not be read by any web page that its browser shows.
    private func isAddressed(_ request: HTTPRequest) -> Bool {
        guard case .tcp? = monitoring.address, monitoring.address?.isLocal == true else {
            return true
        }
        return request.namesThisMachine
    }

    private func answerReadiness() -> HTTPResponse {
        if let reason = reasonNotReady() { return .text(reason, status: 503) }
        return .text("ready")
    }

    // MARK: Samples

    private func startSampling() throws(UVError) {
        guard monitoring.sampler == nil else { return }
        let timer = try LoopTimer(loop: loop) { [unowned self] in self.sample() }
        monitoring.sampler = timer
        timer.arm(at: loop.now)
    }

    private func sample() {
        let pools = snapshot(of: .pools).pools.prefix(MonitoringHistory.poolsKept).map {
            MonitoringHistory.Pool(
                name: "\($0.database)/\($0.user)", leased: $0.summary.counts.leased,
                waiting: $0.waiting, total: $0.summary.counts.total, size: $0.summary.size)
        }
        monitoring.lag.roll()
        monitoring.history.add(.init(time: SystemClock.wall, pools: pools))
        monitoring.sampler?.arm(at: loop.now + MonitoringHistory.period.wholeNanoseconds)
    }
}

extension MetricsAddress {
    fileprivate var listenerAddress: Listener.Address {
        switch self {
        case .unix(let path): .unix(path: path)
        case .tcp(let host, let port): .tcp(host: host, port: port)
        }
    }

    fileprivate func overlaps(_ other: MetricsAddress?) -> Bool {
        guard case .tcp(_, let port) = self, case .tcp(_, let otherPort)? = other else {
            return false
        }
        return port == otherPort
    }
}
