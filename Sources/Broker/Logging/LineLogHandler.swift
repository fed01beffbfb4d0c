// SPDX-License-Identifier: Apache-2.0

package import Logging

/// swift-log's handler over a sink. A value, as swift-log asks: a logger may carry metadata and a
/// level of its own; without one it follows the sink's, which a reload changes.
package struct LineLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let sink: LogSink
    private var ownLevel: Logger.Level?

    package init(label: String, sink: LogSink) {
        self.label = label
        self.sink = sink
    }

    package var logLevel: Logger.Level {
        get { ownLevel ?? sink.level }
        set { ownLevel = newValue }
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() {
            all.merge(provided) { _, new in new }
        }
        if let own = event.metadata {
            all.merge(own) { _, new in new }
        }
        let line = LogLine(
            level: event.level, message: event.message.description, label: label, metadata: all)
        sink.write(line)
    }
}
