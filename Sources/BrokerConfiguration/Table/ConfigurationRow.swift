/// A row of SHOW CONFIG.
package struct ConfigurationRow: Equatable, Sendable {
    package let key: String
    package let value: String
    /// The column is called `default`.
    package let defaultValue: String
    package let changeable: Bool

    /// The last column as pgbouncer writes it.
    package var changeableText: String { changeable ? "yes" : "no" }
}

extension Configuration {
    /// SHOW CONFIG, in alphabetical order as pgbouncer's.
    package var showConfigRows: [ConfigurationRow] {
        Settings.all.sorted { $0.name < $1.name }.map {
            ConfigurationRow(
                key: $0.name, value: $0.text(in: settings),
                defaultValue: $0.defaultText(for: flavour), changeable: $0.changeable)
        }
    }
}
