import IntercomCore
import Linux
import SQLite

/// Why the session database was not opened; the description says what to do.
package struct SQLiteStoreOpenError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What stood in the way.
  package enum Cause: Sendable, Equatable {
    /// Another process has it; its process id, if that can be read.
    case held(by: Int32?)
    case file(PrivateFileFault)
    /// A newer Intercom has written it.
    case newerSchema(found: Int64, known: Int)
    /// A database of another program, or one that was altered.
    case foreign
    case database(SQLiteError)
    /// No thread could be started.
    case thread
  }

  package let path: String
  package let cause: Cause
  package var faultOrigin: FaultOrigin { .store }

  package var description: String {
    let (problem, remedy) = explanation
    return "the session database \(path) cannot be opened: \(problem); \(remedy)"
  }

  /// What stands in the way, and what to do about it.
  package var explanation: (problem: String, remedy: String) {
    switch cause {
    case .held(let process):
      (
        "another process uses it\(process.map { " (process id \($0))" } ?? "")",
        "one Intercom at a time may: stop the other one, give each a sessions.path of its own, or use Redis for several instances"
      )
    case .file(let fault): Self.explanation(fault)
    case .newerSchema(let found, let known):
      (
        "a newer Intercom has written it (schema \(found), this one knows up to \(known))",
        "start that version again, or move the file away: all users then sign in again"
      )
    case .foreign: ("it is not a session database of Intercom, or it was altered", "give sessions.path another name")
    case .database(let error): ("\(error)", StoreHealth.advice(error.cause))
    case .thread:
      ("no thread could be started", "raise the limit of processes of the user (ulimit -u) or of the container (pids)")
    }
  }

  private static func explanation(_ fault: PrivateFileFault) -> (problem: String, remedy: String) {
    switch fault {
    case .noFolder: ("its folder does not exist", "create it for the user that runs Intercom (mode 0700)")
    case .folderOpenToAll: ("everybody may replace files in its folder", "take the right to write from others (chmod o-w)")
    case .notRegular: ("it is a link, a folder or a device", "name the file itself")
    case .foreign: ("it belongs to another user", "give it to the user that runs Intercom (chown)")
    case .linked: ("it has a second name (hard link), through which it could be read", "remove one of them")
    case .system(let error): (error.sentence, "the user that runs Intercom must be able to write the file and its folder")
    }
  }
}

/// The database file, checked and locked for this process.
struct StoreFile: Sendable {
  let path: String
  let identity: FileIdentity
  /// Held as long as the store lives.
  let lock: FileLock

  /// Locks first: opening and closing the file while another store of this process uses it would drop SQLite's locks.
  static func claim(path: String) throws(SQLiteStoreOpenError) -> StoreFile {
    func fault(_ cause: SQLiteStoreOpenError.Cause) -> SQLiteStoreOpenError { SQLiteStoreOpenError(path: path, cause: cause) }
    guard !path.isEmpty, !path.utf8.contains(0), path.utf8.last != UInt8(ascii: "/") else { throw fault(.file(.notRegular)) }
    let attempt: FileLock.Attempt
    do { attempt = try FileLock.take(path: path + ".lock") } catch {
      throw fault(.file(error.isNotFound ? .noFolder : error.isLink ? .notRegular : .system(error)))
    }
    let lock: FileLock
    switch attempt {
    case .locked(let taken): lock = taken
    case .held(let process): throw fault(.held(by: process))
    }
    do { try preparePrivateFile(path: path) } catch { throw fault(.file(error)) }
    guard let identity = FileIdentity(path: path) else { throw fault(.file(.notRegular)) }
    return StoreFile(path: path, identity: identity, lock: lock)
  }

  /// What stands in the way, as far as it can be told without opening, locking or making anything.
  static func obstacle(path: String) -> SQLiteStoreOpenError? {
    privateFileObstacle(path: path).map { SQLiteStoreOpenError(path: path, cause: .file($0)) }
  }

  /// A new connection to this very file: whoever put another one in its place must restart Intercom.
  func connect(_ options: SQLiteConnection.Options) throws(SQLiteError) -> SQLiteConnection {
    guard FileIdentity(path: path) == identity else { throw .moved }
    var options = options
    options.isExclusive = true
    let connection = try SQLiteConnection(path: path, options)
    guard !connection.hasMoved else { throw .moved }
    return connection
  }
}

extension SQLiteError.Cause {
  /// A fresh connection may work where this one never will: it forgets pages that may be wrong, and opens a log for writing that was opened
  /// while the disk took no writes.
  var asksForNewConnection: Bool { [.damaged, .inputOutput, .cannotOpen, .readOnly].contains(self) }
}
