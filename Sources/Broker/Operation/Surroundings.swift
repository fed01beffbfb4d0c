/// Who started the broker, and what it was given.
struct Surroundings {
    let notify: ServiceNotifier?
    /// Listening sockets from systemd.
    let adoptedSockets: [Int32]
    /// Called on the loop once clients are accepted, with where.
    let onReady: (BrokerAddress) -> Void
    /// How often systemd wants to hear of it; nil: not at all, or not yet.
    var watchdogInterval: Duration?
}
