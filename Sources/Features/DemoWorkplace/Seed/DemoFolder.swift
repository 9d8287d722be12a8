import Linux

/// The folder on disk that holds the demo's files: `users/` with one folder per user, and `scratch/` for what is on its way.
package struct DemoFolder: Sendable {
  package let path: String
  private let root: OpenFile

  /// Makes a new, empty folder below `parent`, open to this process's user only. Blocks.
  package static func make(in parent: String = "/tmp") throws(FileStoreError) -> DemoFolder {
    let made = try onDiskValue { () throws(FileError) in
      let path = try makeTemporaryFolder(prefix: parent + "/intercom-demo-")
      let root = try OpenFile.folder(path: path)
      try root.makeFolder(Array("users".utf8))
      try root.makeFolder(Array("scratch".utf8))
      return (path, root)
    }
    return DemoFolder(path: made.0, root: made.1)
  }

  /// The users' folders in it.
  package func users() throws(FileStoreError) -> UserFolders {
    try onDiskValue { () throws(FileError) in
      UserFolders(users: try root.folder(Array("users".utf8)), scratch: try root.folder(Array("scratch".utf8)))
    }
  }

  /// Gives the user a folder with the files of `SeedFile`. Blocks.
  package func seed(_ user: String) throws(FileStoreError) {
    guard UserFolders.isUserName(user) else { throw .forbidden }
    try onDiskValue { () throws(FileError) in
      let users = try root.folder(Array("users".utf8))
      try users.makeFolder(Array(user.utf8))
      let home = try users.folder(Array(user.utf8))
      for seed in SeedFile.all(for: user) {
        var folder = home
        for segment in seed.folders {
          do throws(FileError) { try folder.makeFolder(Array(segment.utf8)) } catch { guard error.isExisting else { throw error } }
          folder = try folder.folder(Array(segment.utf8))
        }
        try folder.creating(Array(seed.name.utf8)).write(seed.content)
      }
    }
  }

  /// Takes the folder and all in it away. Blocks; what cannot be removed stays.
  package func remove() {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), let parent = try? OpenFile.folder(path: String(path[..<slash])) else {
      return
    }
    FileTree.remove(Array(path[path.index(after: slash)...].utf8), in: parent, depth: 0)
  }
}

private func onDiskValue<R>(_ body: () throws(FileError) -> R) throws(FileStoreError) -> R { try onDisk(body) }
