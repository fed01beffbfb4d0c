// SPDX-License-Identifier: Apache-2.0

/// The command tags that mean something to the relay beyond "done".
package enum CommandTagKind: Equatable, Sendable {
    case other
    case begin
    case commit
    case rollback
    case set
    case reset
    case prepare
    case deallocate
    case deallocateAll
    case discardAll
    case listen

    /// Whether the tag is that of a SELECT, INSERT, UPDATE, DELETE or MERGE, which are nearly all.
    package static func isOfRows(_ tag: UnsafeRawBufferPointer) -> Bool {
        guard tag.count >= 4 else { return false }
        switch UInt32(bigEndian: tag.loadUnaligned(as: UInt32.self)) {
        case 0x5345_4c45, 0x494e_5345, 0x5550_4441, 0x4445_4c45, 0x4d45_5247: return true
        default: return false
        }
    }

    /// Reads the body of a CommandComplete: the tag and its NUL. One or two bytes decide the common
    /// ones.
    package static func of(_ tag: UnsafeRawBufferPointer) -> CommandTagKind {
        guard tag.count > 1 else { return .other }
        switch tag[0] {
        case UInt8(ascii: "B"):
            return isTag(tag, "BEGIN") ? .begin : .other
        case UInt8(ascii: "C"):
            return tag[1] == UInt8(ascii: "O") && isTag(tag, "COMMIT") ? .commit : .other
        case UInt8(ascii: "D"):
            if isTag(tag, "DEALLOCATE") { return .deallocate }
            if isTag(tag, "DEALLOCATE ALL") { return .deallocateAll }
            return isTag(tag, "DISCARD ALL") ? .discardAll : .other
        case UInt8(ascii: "L"):
            return isTag(tag, "LISTEN") ? .listen : .other
        case UInt8(ascii: "P"):
            return isTag(tag, "PREPARE") ? .prepare : .other
        case UInt8(ascii: "R"):
            if isTag(tag, "ROLLBACK") { return .rollback }
            return isTag(tag, "RESET") ? .reset : .other
        case UInt8(ascii: "S"):
            if isTag(tag, "SET") { return .set }
            return isTag(tag, "START TRANSACTION") ? .begin : .other
        default:
            return .other
        }
    }
}

/// Whether the body of a CommandComplete is exactly this tag.
@inline(__always)
package func isTag(_ tag: UnsafeRawBufferPointer, _ name: StaticString) -> Bool {
    let length = name.utf8CodeUnitCount
    return tag.count == length + 1 && tag[length] == 0 && hasPrefix(tag, name)
}

@inline(__always)
func hasPrefix(_ tag: UnsafeRawBufferPointer, _ name: StaticString) -> Bool {
    let length = name.utf8CodeUnitCount
    guard tag.count >= length else { return false }
    for index in 0..<length where tag[index] != name.utf8Start[index] { return false }
    return true
}
