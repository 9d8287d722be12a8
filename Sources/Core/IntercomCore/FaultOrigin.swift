/// Whose fault a failure was: every error of Intercom can say so, and the answer, the log line and the metric follow from it.
package enum FaultOrigin: String, Sendable, CaseIterable {
  case client
  case gateway
  case provider
  case upstream
  case store
}
