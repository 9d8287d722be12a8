import IntercomCore

/// The date format of HTTP fields, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7), by arithmetic on the proleptic Gregorian calendar.
package enum HTTPDate {
  private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
  /// 9999-12-31T23:59:59Z
  private static let last: Int64 = 253_402_300_799

  /// The instant as text; instants outside of the years 1970 … 9999 are moved to the nearest one inside.
  package static func format(_ instant: WallInstant) -> String {
    let seconds = min(max(instant.seconds, 0), last)
    let day = Int(seconds / 86_400)
    let rest = Int(seconds % 86_400)
    let (year, month, dayOfMonth) = civil(fromDays: day)
    let time = "\(pad(rest / 3600)):\(pad(rest / 60 % 60)):\(pad(rest % 60))"
    return "\(days[day % 7]), \(pad(dayOfMonth)) \(months[month - 1]) \(pad(year, 4)) \(time) GMT"
  }

  /// Reads that format exactly (not the two obsolete ones); nil for anything else, also for a day that does not exist or a wrong weekday.
  package static func parse(_ text: String) -> WallInstant? {
    let bytes = Array(text.utf8)
    guard bytes.count == 29, let month = months.firstIndex(where: { Array($0.utf8) == Array(bytes[8..<11]) }),
      let day = number(bytes[5..<7]), let year = number(bytes[12..<16]), let hour = number(bytes[17..<19]), hour < 24,
      let minute = number(bytes[20..<22]), minute < 60, let second = number(bytes[23..<25]), second <= 60, year >= 1970
    else { return nil }
    let count = daysFromCivil(year, month + 1, day)
    let instant = WallInstant(seconds: Int64(count * 86_400 + hour * 3600 + minute * 60 + min(second, 59)))
    guard civil(fromDays: count) == (year, month + 1, day) else { return nil }
    // Written again it must be the same, apart from a leap second: that checks the weekday and every separator.
    let again = Array(format(instant).utf8)
    for index in bytes.indices where again[index] != bytes[index] {
      guard second == 60, (23..<25).contains(index) else { return nil }
    }
    return instant
  }

  private static func pad(_ value: Int, _ width: Int = 2) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
    var value = 0
    for digit in digits {
      guard digit &- 48 < 10 else { return nil }
      value = value * 10 + Int(digit - 48)
    }
    return value
  }

  /// Years begin in March here, so that the leap day is the last of its year.
  private static func daysFromCivil(_ year: Int, _ month: Int, _ day: Int) -> Int {
    let shifted = month <= 2 ? year - 1 : year
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func civil(fromDays count: Int) -> (year: Int, month: Int, day: Int) {
    let shifted = count + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
  }
}
