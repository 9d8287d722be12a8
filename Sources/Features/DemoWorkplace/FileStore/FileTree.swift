import Linux

/// Whole trees of files: copied and removed folder by folder, links and special files never followed nor copied.
enum FileTree {
  /// Copies one entry. `remaining` counts entries down; a tree that is too large or too deep is `tooMany`.
  static func copy(
    from source: OpenFile, _ name: [UInt8], into target: OpenFile, as newName: [UInt8], deep: Bool, depth: Int, remaining: inout Int
  ) throws(FileStoreError) {
    guard depth <= StorePath.maximumDepth, remaining > 0 else { throw .tooMany }
    remaining -= 1
    let status = try onDisk { () throws(FileError) in try source.status(of: name) }
    switch status.kind {
    case .other: return
    case .file: try copyFile(from: source, name, into: target, as: newName)
    case .folder:
      try onDisk { () throws(FileError) in try target.makeFolder(newName) }
      guard deep else { return }
      let from = try onDisk { () throws(FileError) in try source.folder(name) }
      let to = try onDisk { () throws(FileError) in try target.folder(newName) }
      let names: [[UInt8]]
      do { names = try from.names(limit: remaining) } catch { throw .tooMany }
      for child in names {
        try copy(from: from, child, into: to, as: child, deep: true, depth: depth + 1, remaining: &remaining)
      }
    }
  }

  private static func copyFile(
    from source: OpenFile, _ name: [UInt8], into target: OpenFile, as newName: [UInt8]
  ) throws(FileStoreError) {
    let from = try onDisk { () throws(FileError) in try source.reading(name) }
    let to = try onDisk { () throws(FileError) in try target.creating(newName) }
    var offset = 0
    while true {
      let piece = try onDisk { () throws(FileError) in try from.read(at: offset, count: 262_144) }
      guard !piece.isEmpty else { return }
      try onDisk { () throws(FileError) in try to.write(piece) }
      offset += piece.count
    }
  }

  /// Removes as much as possible.
  static func remove(_ name: [UInt8], in folder: OpenFile, depth: Int) {
    guard let status = try? folder.status(of: name) else { return }
    guard status.kind == .folder else {
      try? folder.remove(name, isFolder: false)
      return
    }
    // Folders are made through the store only, so none is deeper than its limit (twice: a moved tree may stand deeper).
    guard depth <= 2 * StorePath.maximumDepth else { return }
    if let inside = try? folder.folder(name), let names = try? inside.names(limit: 1_000_000) {
      for child in names { remove(child, in: inside, depth: depth + 1) }
    }
    try? folder.remove(name, isFolder: true)
  }
}
