// SPDX-License-Identifier: Apache-2.0

/// A channel of a pool's, for as long as some client wants it.
struct ChannelNumber: Hashable, Sendable {
    let rawValue: UInt32
}

/// What the clients of one pool listen to: who wants which channel, and what the hub still has to tell PostgreSQL.
///
/// Invariant: a channel has a number as long as a client wants it, or the hub still listens to it.
struct ChannelTable {
    private struct Channel {
        var name: [UInt8] = []
        /// Those that listen to it, and those whose LISTEN is on its way.
        var clients: [ClientID] = []
        /// PostgreSQL was told to listen.
        var isAsked = false
        var isQueued = false
        /// 0: nobody has the number.
        var isUsed = false
    }

    private var channels: [Channel] = []
    private var free: [UInt32] = []
    private var numbers = ByteTable<ChannelNumber>()
    /// To be listened to, or perhaps not any more.
    private var queue: [ChannelNumber] = []
    /// How often some client wants some channel.
    private(set) var wishes = 0

    var count: Int { numbers.count }
    /// Nobody wants anything.
    var isUnwanted: Bool { wishes == 0 }
    var hasChanges: Bool { !queue.isEmpty }

    func number(of name: UnsafeRawBufferPointer) -> ChannelNumber? { numbers.value(for: name) }

    func name(of number: ChannelNumber) -> [UInt8] { channels[Int(number.rawValue)].name }

    func clients(of number: ChannelNumber) -> [ClientID] { channels[Int(number.rawValue)].clients }

    var allClients: Set<ClientID> {
        var all: Set<ClientID> = []
        for channel in channels { all.formUnion(channel.clients) }
        return all
    }

    /// The client wants it from now on; it must not have wanted it before.
    mutating func want(_ name: [UInt8], _ client: ClientID) -> ChannelNumber {
        let number = self.number(ofWanted: name)
        channels[Int(number.rawValue)].clients.append(client)
        wishes += 1
        return number
    }

    private mutating func number(ofWanted name: [UInt8]) -> ChannelNumber {
        if let known = name.withUnsafeBytes({ numbers.value(for: $0) }) { return known }
        if free.isEmpty {
            free.append(UInt32(channels.count))
            channels.append(Channel())
        }
        let number = ChannelNumber(rawValue: free.removeLast())
        channels[Int(number.rawValue)] = Channel()
        channels[Int(number.rawValue)].name = name
        channels[Int(number.rawValue)].isUsed = true
        name.withUnsafeBytes { numbers.insert(number, for: $0) }
        enqueue(number)
        return number
    }

    /// The client wants it no more.
    mutating func leave(_ number: ChannelNumber, _ client: ClientID) {
        let index = Int(number.rawValue)
        guard let place = channels[index].clients.firstIndex(of: client) else {
            preconditionFailure("a client leaves a channel that it does not want")
        }
        channels[index].clients.swapAt(place, channels[index].clients.count - 1)
        channels[index].clients.removeLast()
        wishes -= 1
        if channels[index].clients.isEmpty { enqueue(number) }
    }

    private mutating func enqueue(_ number: ChannelNumber) {
        guard !channels[Int(number.rawValue)].isQueued else { return }
        channels[Int(number.rawValue)].isQueued = true
        queue.append(number)
    }

    /// PostgreSQL knows of none: all that are wanted are to be listened to again.
    mutating func forgetAsked() {
        for index in channels.indices where channels[index].isUsed {
            channels[index].isAsked = false
            enqueue(ChannelNumber(rawValue: UInt32(index)))
        }
    }

    /// What brings PostgreSQL to what is wanted, as one text; empty if it is there.
    mutating func takeChanges() -> [UInt8] {
        var text: [UInt8] = []
        for number in exchange(&queue, with: []) {
            let index = Int(number.rawValue)
            channels[index].isQueued = false
            let isWanted = !channels[index].clients.isEmpty
            if isWanted != channels[index].isAsked {
                Self.append(
                    isWanted ? "LISTEN " : "UNLISTEN ", channels[index].name, to: &text)
                channels[index].isAsked = isWanted
            }
            if !isWanted {
                channels[index].name.withUnsafeBytes { _ = numbers.remove($0) }
                channels[index] = Channel()
                free.append(number.rawValue)
            }
        }
        return text
    }

    private static func append(_ command: StaticString, _ name: [UInt8], to text: inout [UInt8]) {
        if !text.isEmpty { text.append(UInt8(ascii: ";")) }
        for offset in 0..<command.utf8CodeUnitCount { text.append(command.utf8Start[offset]) }
        text.append(UInt8(ascii: "\""))
        for byte in name {
            if byte == UInt8(ascii: "\"") { text.append(byte) }
            text.append(byte)
        }
        text.append(UInt8(ascii: "\""))
    }
}
