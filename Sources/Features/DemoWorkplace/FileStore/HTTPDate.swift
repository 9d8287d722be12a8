/// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`
/// ([RFC 9110 §5.6.7](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7)).
package func httpDate(secondsSince1970 seconds: Int64) -> String {
  // Years 1970 to 9999: outside of them the format has no four-digit year.
  let clamped = min(max(seconds, 0), 253_402_300_799)
  let days = clamped / 86_400
  let second = clamped % 86_400
  let date = civilDate(days: days)
  let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
  let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
  let time = [second / 3600, second / 60 % 60, second % 60].map(twoDigits).joined(separator: ":")
  return "\(weekdays[Int(days % 7)]), \(twoDigits(date.day)) \(months[Int(date.month - 1)]) \(date.year) \(time) GMT"
}

/// The Gregorian date of a day counted from 1970-01-01, by the usual 400-year-era arithmetic with March as first month.
private func civilDate(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
  let shifted = days + 719_468
  let era = shifted / 146_097
  let dayOfEra = shifted % 146_097
  let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
  let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let marchMonth = (5 * dayOfYear + 2) / 153
  let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
  let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
  return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
}

private func twoDigits(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
