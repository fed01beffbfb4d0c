// SPDX-License-Identifier: Apache-2.0

import Glibc
import StatusHTTP

/// The process as the system sees it, under the names that every Prometheus client uses.
extension MetricsDocument {
    func addProcess(to text: inout MetricsText) {
        text.begin("process_cpu_seconds", .counter, "Processor time.")
        text.sample(.none, SystemClock.seconds(CLOCK_PROCESS_CPUTIME_ID))
        let memory = Self.memoryPages()
        let page = sysconf(Int32(_SC_PAGESIZE))
        text.gauge("process_resident_memory_bytes", "Resident memory.", memory.resident * page)
        text.gauge("process_virtual_memory_bytes", "Virtual memory.", memory.virtual * page)
        text.gauge("process_open_fds", "Open file descriptors.", Self.openDescriptors())
        text.gauge("process_max_fds", "Limit of open file descriptors.", state.descriptorLimit)
        text.begin("process_start_time_seconds", .gauge, "When it started, since 1970.")
        text.sample(.none, state.startTime)
    }

    private static func memoryPages() -> (virtual: Int, resident: Int) {
        var buffer = [UInt8](repeating: 0, count: 128)
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return (0, 0) }
        defer { Glibc.close(file) }
        let count = read(file, &buffer, buffer.count)
        let words = buffer.prefix(max(count, 0)).split(separator: 0x20).prefix(2)
        let numbers = words.map { Int(String(decoding: $0, as: UTF8.self)) ?? 0 }
        return numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
    }

    /// Since Linux 6.2 the size of the folder is their number; before, they are counted.
    private static func openDescriptors() -> Int {
        var status = stat()
        if stat("/proc/self/fd", &status) == 0, status.st_size > 0 { return Int(status.st_size) }
        guard let folder = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(folder) }
        // Without "." and ".." and the folder itself.
        var count = -3
        while readdir(folder) != nil { count += 1 }
        return count
    }
}

/// The system's clocks, in seconds.
enum SystemClock {
    /// Since 1970.
    static var wall: Double { seconds(CLOCK_REALTIME) }

    static func seconds(_ id: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(id, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec / 1_000) / 1e6
    }
}
