// SPDX-License-Identifier: Apache-2.0

import LibUV

/// Names that are being resolved, and what goes on with their addresses.
///
/// Each name takes one worker thread, however many connections wait for it: a resolver that does not answer
/// for one does not use up those that others need.
struct NameLookups {
    struct Name: Hashable {
        var host: String
        var port: String
    }

    typealias Continuation = (_ addresses: [String]) -> Void

    fileprivate var underWay: [Name: [Continuation]] = [:]
}

extension Broker {
    /// The addresses of a name; none when it has none.
    func lookUp(_ name: NameLookups.Name, then continuation: @escaping NameLookups.Continuation) {
        if jobs.lookups.underWay[name] != nil {
            jobs.lookups.underWay[name]!.append(continuation)
            return
        }
        jobs.lookups.underWay[name] = [continuation]
        do throws(UVError) {
            try loop.resolve(host: name.host, port: name.port) { [weak self] result in
                self?.found((try? result.get())?.map(\.host) ?? [], of: name)
            }
        } catch {
            found([], of: name)
        }
    }

    private func found(_ addresses: [String], of name: NameLookups.Name) {
        for continuation in jobs.lookups.underWay.removeValue(forKey: name) ?? [] {
            continuation(addresses)
        }
    }
}
