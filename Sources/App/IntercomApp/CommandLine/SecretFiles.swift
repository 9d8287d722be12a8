import IntercomCore
import Linux

/// The files into which `config from-env` writes secrets: all of them or none, and none over one that is there.
struct SecretFiles {
  struct Fault: Error, CustomStringConvertible {
    let path: String
    let problem: String
    var description: String { "nothing written: \(path): \(problem)" }
  }

  private let folder: String
  private let files: [(name: String, secret: Secret<String>)]

  init(folder: String, _ files: [(name: String, secret: Secret<String>)]) {
    self.folder = folder
    self.files = files
  }

  /// Looks for all of them before the first is written; takes back what it wrote when one cannot be written. A folder that is missing is made,
  /// for its user alone, in one that is there; it stays.
  func write() throws(Fault) {
    for (name, _) in files where try isThere(name) {
      throw Fault(path: "\(folder)/\(name)", problem: "File exists; name an empty folder")
    }
    do throws(FileError) { try OpenFile.makePrivateFolder(folder) } catch {
      guard error.isExisting else { throw Fault(path: folder, problem: error.sentence) }
    }
    for (index, file) in files.enumerated() {
      let path = "\(folder)/\(file.name)"
      do throws(FileError) { try AppendFile.createPrivate(path, Array(file.secret.reveal().utf8)) } catch {
        for written in files[..<index] { remove(written.name) }
        throw Fault(path: path, problem: error.sentence)
      }
    }
  }

  /// After `write`.
  func remove() { for (name, _) in files { remove(name) } }

  private func isThere(_ name: String) throws(Fault) -> Bool {
    do throws(FileError) {
      _ = try OpenFile.folder(path: folder).status(of: Array(name.utf8))
      return true
    } catch {
      // A folder that is missing is made later.
      guard error.isNotFound else { throw Fault(path: folder, problem: error.sentence) }
      return false
    }
  }

  private func remove(_ name: String) { _ = try? OpenFile.folder(path: folder).remove(Array(name.utf8), isFolder: false) }
}
