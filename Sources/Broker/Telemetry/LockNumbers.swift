// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// The numbers of pool locks, as long as they last: never used again.
struct LockNumbers {
    /// A lock is one of a pool's size, or of a group's cap.
    enum Subject: Hashable {
        case pool(PoolID)
        case group(GroupID)

        init(_ lock: PoolLock) { self = lock.group.map(Subject.group) ?? .pool(lock.pool) }
    }

    private var numbers: [Subject: Int64] = [:]
    private var last: Int64 = 0

    mutating func number(of subject: Subject) -> Int64 {
        if let known = numbers[subject] { return known }
        last += 1
        numbers[subject] = last
        return last
    }

    mutating func end(_ subject: Subject) { numbers[subject] = nil }

    /// Locks of groups are not announced when they end.
    mutating func keepGroups(_ present: Set<GroupID>) {
        numbers = numbers.filter { subject, _ in
            switch subject {
            case .pool: true
            case .group(let group): present.contains(group)
            }
        }
    }
}
