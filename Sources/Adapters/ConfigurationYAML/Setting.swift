/// One key of the configuration: declared once, and then read, documented and tested from that declaration.
package struct Setting<Value: Sendable>: Sendable {
  package let name: String
  package let shape: ValueShape<Value>
  package let isRequired: Bool
  /// A value as one would write it, for messages and the documentation.
  package let example: String
  /// One or two sentences for the documentation.
  package let summary: String
  /// What stands for it when nobody writes it, in words.
  package let absence: String

  /// `absence` says what an optional setting means when it is not written.
  package init(
    _ name: String, _ shape: ValueShape<Value>, required: Bool = false, absence: String = "none", example: String = "…", _ summary: String
  ) {
    self.name = name
    self.shape = shape
    self.isRequired = required
    self.absence = required ? "required" : absence
    self.example = example
    self.summary = summary
  }

  /// What the documentation says of it, `section` being the path above it.
  package func row(in section: String) -> SettingRow {
    SettingRow(
      path: section.isEmpty ? name : section + "." + name, type: shape.type, absence: absence, range: shape.range, isSecret: shape.isSecret,
      summary: summary)
  }
}

/// A setting that has a default.
package struct DefaultedSetting<Value: Sendable>: Sendable {
  package let setting: Setting<Value>
  package let fallback: Value

  package init(_ name: String, _ shape: ValueShape<Value>, default fallback: Value, shown: String? = nil, _ summary: String) {
    let text = shown ?? shape.show(fallback)
    setting = Setting(name, shape, absence: text, example: text, summary)
    self.fallback = fallback
  }

  package func row(in section: String) -> SettingRow { setting.row(in: section) }
}

/// A row of `docs/configuration.md`.
package struct SettingRow: Sendable, Hashable {
  package let path: String
  package let type: String
  package let absence: String
  package let range: String
  package let isSecret: Bool
  package let summary: String
}

/// How a value is written: its type's name, its range, how it is read and how it is shown.
package struct ValueShape<Value: Sendable>: Sendable {
  package let type: String
  package let range: String
  package let isSecret: Bool
  /// Nil after a fault was collected.
  package let read: @Sendable (ConfigurationValue) -> Value?
  /// As it would be written; secrets show `<redacted>`.
  package let show: @Sendable (Value) -> String

  package init(
    type: String, range: String = "", isSecret: Bool = false, show: @escaping @Sendable (Value) -> String = { "\($0)" },
    read: @escaping @Sendable (ConfigurationValue) -> Value?
  ) {
    self.type = type
    self.range = range
    self.isSecret = isSecret
    self.show = show
    self.read = read
  }

  /// A shape of single values.
  package static func scalar(
    type: String, range: String = "", example: String, show: @escaping @Sendable (Value) -> String = { "\($0)" },
    parse: @escaping @Sendable (String) throws(ValueFault) -> Value
  ) -> ValueShape {
    ValueShape(type: type, range: range, show: show) { value in
      guard let text = value.text(expected: type, example: example) else { return nil }
      do throws(ValueFault) { return try parse(text) } catch {
        value.refuse(error.problem, error.remedy)
        return nil
      }
    }
  }
}
