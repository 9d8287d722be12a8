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

  package var description: String { "the session database \(path) cannot be opened: \(reason)" }

  private var reason: String {
    switch cause {
    case .held(let process):
      "another process uses it\(process.map { " (process id \($0))" } ?? ""). One Intercom at a time may: stop the other one, give each a "
        + "sessions.path of its own, or use Redis for several instances"
    case .file(.noFolder): "its folder does not exist. Create it for the user that runs Intercom (mode 0700)"
    case .file(.folderOpenToAll): "everybody may replace files in its folder. Take the right to write from others (chmod o-w)"
    case .file(.notRegular): "it is a link, a folder or a device. Name the file itself"
    case .file(.foreign): "it belongs to another user. Give it to the user that runs Intercom (chown)"
    case .file(.linked): "it has a second name (hard link), through which it could be read. Remove one of them"
    case .file(.system(let error)): "\(error.sentence). The user that runs Intercom must be able to write the file and its folder"
    case .newerSchema(let found, let known):
      "a newer Intercom has written it (schema \(found), this one knows up to \(known)). Start that version again, or move the file away: all "
        + "users then sign in again"
    case .foreign: "it is not a session database of Intercom, or it was altered. Give sessions.path another name"
    case .database(let error): "\(error). \(StoreHealth.advice(error.cause))"
    case .thread: "no thread could be started. Raise the limit of processes of the user (ulimit -u) or of the container (pids)"
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

  /// A new connection to this very file: whoever put another one in its place must restart Intercom.
  func connect(_ options: SQLiteConnection.Options) throws(SQLiteError) -> SQLiteConnection {
    guard FileIdentity(path: path) == identity else { throw .moved }
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
