import IntercomCore

/// Why something could not be computed. Opening sealed values never throws: every failure there is the same nil.
package enum CryptographyError: Error, Sendable, Equatable {
  /// A key ring needs at least one key.
  case noKeys
  /// A key of a ring is shorter than 32 bytes.
  case keyTooShort
  /// HKDF-SHA256 gives 1 to 8,160 bytes.
  case outputTooLong
  /// A value of more than 1 GiB, or a key or nonce of the wrong length.
  case wrongLength
  /// OpenSSL's own words; they name functions and conditions, never data.
  case library(String)

  package var faultOrigin: FaultOrigin { .gateway }
}
