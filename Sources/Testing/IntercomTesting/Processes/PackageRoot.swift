/// Folders of the checkout that is being tested, as full paths without a slash at the end.
package enum PackageRoot {
  /// The folder of Package.swift. `#filePath` is `ROOT/Sources/Testing/IntercomTesting/Processes/PackageRoot.swift`.
  package static let path: String = {
    let parts = #filePath.split(separator: "/")
    return "/" + parts.dropLast(5).joined(separator: "/")
  }()

  /// What a build leaves behind; logs, pictures and the data of test servers live below it.
  package static let build = path + "/.build"
}
