import HTTPMessage
import IntercomCore
import Linux
import Synchronization

/// Why the file store cannot do what was asked.
package enum FileStoreError: Error, Sendable, Equatable {
  case notFound
  /// The folder that would hold the entry does not exist.
  case parentMissing
  /// There is an entry of that name already.
  case exists
  /// The entry is a folder and a file is needed, or the other way round.
  case wrongKind
  /// A precondition (`If-Match`, `If-None-Match`, `Overwrite`) does not hold.
  case preconditionFailed
  /// Never allowed: the root itself, a folder into itself, links and special files.
  case forbidden
  /// The disk is full.
  case full
  /// More entries or levels than one operation handles.
  case tooMany
  /// The disk says no in a way that the client did not cause.
  case failed(errno: Int32)

  init(_ error: FileError) {
    self =
      if error.isNotFound { .notFound } else if error.isExisting { .exists } else if error.isLink { .forbidden } else if error.isFull {
        .full
      } else if error.isBadName { .forbidden } else { .failed(errno: error.errno) }
  }
}

/// An entry of a folder, as listed.
package struct StoreEntry: Sendable, Equatable {
  package var path: StorePath
  package var status: FileStatus

  package var isFolder: Bool { status.kind == .folder }

  package var lastModified: String { HTTPMessage.HTTPDate.format(WallInstant(seconds: status.modifiedSeconds)) }

  /// Strong: a new upload is a new inode, and a change in place moves the time
  /// ([RFC 9110 §8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)).
  package var entityTag: String {
    let parts = [status.inode, UInt64(clamping: status.size), UInt64(clamping: status.modifiedSeconds)].map { String($0, radix: 16) }
    return "\"\(parts.joined(separator: "-")).\(String(status.modifiedNanoseconds, radix: 36))\""
  }
}

/// One user's files on disk. Every call blocks: run it on `Workers`.
///
/// Uploads and copies grow in a scratch folder beside it and come into sight by one rename; what is replaced or deleted leaves the same
/// way. So nobody sees half a file, and a lock is held only for the rename and the check before it.
package final class UserFolder: Sendable {
  private let root: OpenFile
  private let scratch: OpenFile
  /// Held while a precondition is checked and the rename that depends on it is done.
  private let changes = Mutex<UInt64>(0)
  /// Distinguishes this folder's scratch names from other users'.
  private let label: String

  /// More entries than this in one folder are not listed.
  package static let maximumListing = 5_000
  /// A copy or deletion of a larger tree is refused.
  static let maximumTree = 10_000

  package init(root: OpenFile, scratch: OpenFile, label: String) {
    self.root = root
    self.scratch = scratch
    self.label = label
  }

  /// What is at this path; `notFound` for links and special files too.
  package func entry(_ path: StorePath) throws(FileStoreError) -> StoreEntry {
    guard let name = path.name else { return StoreEntry(path: path, status: try onDisk { () throws(FileError) in try root.status() }) }
    let folder = try parent(of: path, missing: .notFound)
    let status = try onDisk { () throws(FileError) in try folder.status(of: name) }
    guard status.kind != .other else { throw .notFound }
    guard status.kind == .folder || !path.hasTrailingSlash else { throw .notFound }
    return StoreEntry(path: path, status: status)
  }

  /// What is in the folder, by name; links and special files are left out.
  package func children(_ path: StorePath) throws(FileStoreError) -> [StoreEntry] {
    let folder = try self.folder(path.segments[...], missing: .notFound)
    let names: [[UInt8]]
    do { names = try folder.names(limit: Self.maximumListing) } catch { throw .tooMany }
    var entries: [StoreEntry] = []
    for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
      // A name that the protocol cannot say, or an entry that went away meanwhile, is not listed.
      guard let status = try? folder.status(of: name), status.kind != .other else { continue }
      let child = path.appending(name, isFolder: status.kind == .folder)
      guard StorePath(raw: child.href(isFolder: false).utf8) != nil else { continue }
      entries.append(StoreEntry(path: child, status: status))
    }
    return entries
  }

  /// A file, open for reading, with what it was when it was opened.
  package func open(_ path: StorePath) throws(FileStoreError) -> (file: OpenFile, entry: StoreEntry) {
    guard let name = path.name else { throw .wrongKind }
    let folder = try parent(of: path, missing: .notFound)
    let file = try onDisk { () throws(FileError) in try folder.reading(name) }
    let status = try onDisk { () throws(FileError) in try file.status() }
    switch status.kind {
    case .file: break
    case .folder: throw .wrongKind
    case .other: throw .notFound
    }
    guard !path.hasTrailingSlash else { throw .notFound }
    return (file, StoreEntry(path: path, status: status))
  }

  package func makeFolder(_ path: StorePath) throws(FileStoreError) {
    guard let name = path.name else { throw .exists }
    let folder = try parent(of: path, missing: .parentMissing)
    try onDisk { () throws(FileError) in try folder.makeFolder(name) }
  }

  /// Takes the entry and all below it away, in one step as seen from outside.
  package func remove(_ path: StorePath, if condition: (StoreEntry?) -> Bool) throws(FileStoreError) {
    let bin = newScratchName()
    try changing { () throws(FileStoreError) in
      let entry = try self.entry(path)
      guard condition(entry) else { throw .preconditionFailed }
      try detach(path, as: bin)
    }
    discard(bin)
  }

  /// Moves or replaces; true when the destination is new.
  package func move(_ source: StorePath, to destination: StorePath, overwrite: Bool) throws(FileStoreError) -> Bool {
    try Self.checkApart(source, destination)
    guard let name = source.name else { throw .forbidden }
    let bin = newScratchName()
    defer { discard(bin) }
    return try changing { () throws(FileStoreError) in
      _ = try entry(source)
      let folder = try parent(of: source, missing: .notFound)
      return try place(from: folder, name, at: destination, overwrite: overwrite, bin: bin)
    }
  }

  /// Copies a file, or a folder with all below it (`deep`) or alone; true when the destination is new.
  package func copy(
    _ source: StorePath, to destination: StorePath, overwrite: Bool, deep: Bool
  ) throws(FileStoreError) -> Bool {
    try Self.checkApart(source, destination)
    guard let name = source.name else { throw .forbidden }
    _ = try entry(source)
    _ = try parent(of: destination, missing: .parentMissing)
    let folder = try parent(of: source, missing: .notFound)
    let copy = newScratchName()
    let bin = newScratchName()
    defer {
      discard(copy)
      discard(bin)
    }
    var remaining = Self.maximumTree
    try FileTree.copy(from: folder, name, into: scratch, as: copy, deep: deep, depth: 0, remaining: &remaining)
    return try changing { () throws(FileStoreError) in
      try place(from: scratch, copy, at: destination, overwrite: overwrite, bin: bin)
    }
  }

  /// A new file in the scratch folder, for the bytes of an upload.
  package func beginUpload() throws(FileStoreError) -> Upload {
    let name = newScratchName()
    return Upload(file: try onDisk { () throws(FileError) in try scratch.creating(name) }, name: name)
  }

  /// Puts the upload at its place; true when nothing was there. A folder there is `wrongKind`.
  package func commit(
    _ upload: Upload, to path: StorePath, if condition: (StoreEntry?) -> Bool
  ) throws(FileStoreError) -> (created: Bool, entry: StoreEntry) {
    try changing { () throws(FileStoreError) in
      let existing = try self.checkUpload(to: path, if: condition)
      let folder = try parent(of: path, missing: .parentMissing)
      guard let name = path.name else { throw .wrongKind }
      try onDisk { () throws(FileError) in try scratch.rename(upload.name, into: folder, as: name) }
      return (existing == nil, try entry(path))
    }
  }

  /// The checks of `commit`, also made before the body is read so that a hopeless upload costs nothing.
  @discardableResult
  package func checkUpload(to path: StorePath, if condition: (StoreEntry?) -> Bool) throws(FileStoreError) -> StoreEntry? {
    guard path.name != nil, !path.hasTrailingSlash else { throw .wrongKind }
    _ = try parent(of: path, missing: .parentMissing)
    let existing = try existingEntry(path)
    if let existing, existing.isFolder { throw .wrongKind }
    guard condition(existing) else { throw .preconditionFailed }
    return existing
  }

  package func abandon(_ upload: Upload) { discard(upload.name) }

  // MARK: - Pieces

  private func existingEntry(_ path: StorePath) throws(FileStoreError) -> StoreEntry? {
    do { return try entry(path) } catch {
      if error == .notFound { return nil }
      throw error
    }
  }

  private static func checkApart(_ source: StorePath, _ destination: StorePath) throws(FileStoreError) {
    guard !source.holds(destination), !destination.holds(source) else { throw .forbidden }
  }

  /// Renames the entry to its destination; what was there goes to the scratch folder first and comes back when the rename fails.
  private func place(
    from folder: OpenFile, _ name: [UInt8], at destination: StorePath, overwrite: Bool, bin: [UInt8]
  ) throws(FileStoreError) -> Bool {
    guard let newName = destination.name else { throw .forbidden }
    let newParent = try parent(of: destination, missing: .parentMissing)
    // Without the trailing slash, so that a file at `/a` stands in the way of a folder that is to become `/a/`.
    let isTaken = (try? newParent.status(of: newName)) != nil
    if isTaken {
      guard overwrite else { throw .preconditionFailed }
      try onDisk { () throws(FileError) in try newParent.rename(newName, into: scratch, as: bin) }
    }
    do { try folder.rename(name, into: newParent, as: newName) } catch {
      if isTaken { try? scratch.rename(bin, into: newParent, as: newName) }
      throw FileStoreError(error)
    }
    return !isTaken
  }

  private func detach(_ path: StorePath, as bin: [UInt8]) throws(FileStoreError) {
    guard let name = path.name else { throw .forbidden }
    let folder = try parent(of: path, missing: .notFound)
    try onDisk { () throws(FileError) in try folder.rename(name, into: scratch, as: bin) }
  }

  /// Best effort: what cannot be removed stays out of sight in the scratch folder until the demo's folder goes.
  private func discard(_ name: [UInt8]) { FileTree.remove(name, in: scratch, depth: 0) }

  private func parent(of path: StorePath, missing: FileStoreError) throws(FileStoreError) -> OpenFile {
    try folder(path.parents, missing: missing)
  }

  private func folder(_ segments: ArraySlice<[UInt8]>, missing: FileStoreError) throws(FileStoreError) -> OpenFile {
    var folder = root
    for segment in segments {
      do { folder = try folder.folder(segment) } catch {
        // ENOTDIR is also what a link gives with O_DIRECTORY and O_NOFOLLOW: not there, as far as this store is concerned.
        throw error.isNotFound || error.isLink ? missing : FileStoreError(error)
      }
    }
    return folder
  }

  private func newScratchName() -> [UInt8] {
    let number = changes.withLock { count in
      count &+= 1
      return count
    }
    return Array("\(label)-\(number)".utf8)
  }

  private func changing<R>(_ body: () throws(FileStoreError) -> R) throws(FileStoreError) -> R {
    try changes.withLock { _ throws(FileStoreError) in try body() }
  }
}

/// An upload on its way: bytes go into a file that nobody sees yet.
package struct Upload: Sendable {
  fileprivate let file: OpenFile
  fileprivate let name: [UInt8]

  package func write(_ bytes: [UInt8]) throws(FileStoreError) {
    try onDisk { () throws(FileError) in try file.write(bytes) }
  }
}

func onDisk<R>(_ body: () throws(FileError) -> R) throws(FileStoreError) -> R {
  do { return try body() } catch { throw FileStoreError(error) }
}
