/// At most one call per key at a time; who comes while it runs gets its result. Confined to an actor.
package struct SingleFlight<Key: Hashable & Sendable, Value: Sendable> {
  private struct Flight {
    let id: UInt64
    let task: Task<Value, Never>
    var passengers: Int
    var isAbandoned = false
  }
  package enum Boarding {
    /// Wait for this one.
    case join(Task<Value, Never>)
    /// Nobody is under way: call `start`.
    case start
    /// Too many wait, or too many calls are under way.
    case full
  }

  private var flights: [Key: Flight] = [:]
  private var lastID: UInt64 = 0
  private let maximumFlights: Int
  private let maximumPassengers: Int

  package init(maximumFlights: Int = 4_096, maximumPassengers: Int = 1_024) {
    self.maximumFlights = maximumFlights
    self.maximumPassengers = maximumPassengers
  }

  /// How many calls run.
  package var count: Int { flights.count }

  /// Does a call for this key run?
  package func isUnderWay(_ key: Key) -> Bool { flights[key] != nil }

  /// What somebody who wants this result must do.
  package mutating func board(_ key: Key) -> Boarding {
    guard let flight = flights[key] else { return flights.count < maximumFlights ? .start : .full }
    guard flight.passengers < maximumPassengers else { return .full }
    flights[key]?.passengers += 1
    return .join(flight.task)
  }

  /// Notes a call under way. `make` gets the id to hand to `land`.
  package mutating func start(_ key: Key, _ make: (UInt64) -> Task<Value, Never>) -> Task<Value, Never> {
    lastID &+= 1
    let task = make(lastID)
    flights[key] = Flight(id: lastID, task: task, passengers: 1)
    return task
  }

  /// The call is over. False: it was abandoned, so its result must not be kept.
  package mutating func land(_ key: Key, id: UInt64) -> Bool {
    guard let flight = flights[key], flight.id == id else { return false }
    flights[key] = nil
    return !flight.isAbandoned
  }

  /// Marks calls whose results must not be kept.
  package mutating func abandon(where matches: (Key) -> Bool) {
    for key in flights.keys.filter(matches) { flights[key]?.isAbandoned = true }
  }
}
