/// A file that a demo user finds in the store at the start.
struct SeedFile: Sendable {
  var folders: [String] = []
  var name: String
  var content: [UInt8]

  static func all(for user: String) -> [SeedFile] {
    let person = user.prefix(1).uppercased() + user.dropFirst()
    return [
      SeedFile(
        name: "Quarterly report.pdf",
        content: SeedPDF.page(
          title: "Quarterly report",
          lines: [
            "Prepared by \(person), third quarter.", "", "Open tickets at the end of the quarter: 41 (before: 58)",
            "Median time to first answer: 2 h 10 min (before: 3 h 45 min)", "Sign-ins through the portal: 18,402",
            "Sign-ins that needed help: 23", "", "The move to one sign-in for all applications is complete.",
            "Next quarter: file locking, and calendars for rooms.",
          ])),
      SeedFile(name: "Team photo.svg", content: Array(SeedPicture.team.utf8)),
      SeedFile(
        name: "Notes.txt",
        content: text(
          "Notes of \(person)", "", "- Send the quarterly report to the board before Friday.", "- Ask the caterer about the summer party.",
          "- Room plan: see \"Räume und Schlüssel.csv\".")),
      SeedFile(
        name: "Räume und Schlüssel.csv",
        content: text(
          "Raum;Plätze;Schlüssel", "Grüner Salon;12;A-07", "Besprechung Süd;6;A-11", "Großes Atelier;40;B-01", "Küche;8;ohne")),
      SeedFile(
        folders: ["Contracts"], name: "Framework agreement.pdf",
        content: SeedPDF.page(
          title: "Framework agreement",
          lines: ["between the Workplace Foundation and its suppliers", "", "Version 4, for signature.", "This is a sample document."])),
      SeedFile(
        folders: ["Contracts"], name: "Price list 2026.csv",
        content: text("item;unit;price", "Consulting;day;1150", "Support, standard;month;480", "Support, extended;month;960")),
      SeedFile(
        folders: ["Contracts", "Signed"], name: "Lease, Bürohaus Mitte.txt",
        content: text("Lease of the offices, Bürohaus Mitte.", "Signed by both parties.", "The original is in the archive.")),
      SeedFile(
        folders: ["Photos & drawings"], name: "Logo 100%.svg", content: Array(SeedPicture.logo.utf8)),
    ]
  }

  private static func text(_ lines: String...) -> [UInt8] { Array((lines.joined(separator: "\n") + "\n").utf8) }
}

/// A one-page PDF made of text, with the offsets that its cross-reference table needs.
enum SeedPDF {
  static func page(title: String, lines: [String]) -> [UInt8] {
    var drawing = "0.16 0.32 0.62 rg 0 770 595 72 re f\nBT 1 1 1 rg /F2 22 Tf 56 798 Td (\(escaped(title))) Tj ET\n"
    drawing += "BT 0.12 0.14 0.18 rg /F1 12 Tf 18 TL 56 728 Td\n"
    for line in lines { drawing += "(\(escaped(line))) Tj T*\n" }
    drawing += "ET"
    let objects = [
      "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
      "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>",
      "<< /Length \(drawing.utf8.count) >>\nstream\n\(drawing)\nendstream",
      "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
      "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
      "<< /Title (\(escaped(title))) /Producer (Intercom demo) >>",
    ]
    var out = "%PDF-1.4\n"
    var table = "xref\n0 \(objects.count + 1)\n0000000000 65535 f \n"
    for (index, object) in objects.enumerated() {
      let offset = String(out.utf8.count)
      table += String(repeating: "0", count: max(0, 10 - offset.count)) + offset + " 00000 n \n"
      out += "\(index + 1) 0 obj\n\(object)\nendobj\n"
    }
    let start = out.utf8.count
    out += table + "trailer\n<< /Size \(objects.count + 1) /Root 1 0 R /Info 7 0 R >>\nstartxref\n\(start)\n%%EOF\n"
    return Array(out.utf8)
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("(", with: "\\(").replacing(")", with: "\\)")
  }
}

/// The store's sample pictures.
enum SeedPicture {
  static let team = """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" width="640" height="400" role="img" aria-label="Four colleagues">
    <defs><linearGradient id="s" x2="0" y2="1"><stop stop-color="#cfe3ff"/><stop offset="1" stop-color="#f6ede1"/></linearGradient></defs>
    <rect width="640" height="400" fill="url(#s)"/><circle cx="536" cy="78" r="34" fill="#ffd98a"/>
    <path d="M0 300 Q160 240 320 290 T640 270 V400 H0Z" fill="#a9c7a0"/>
    <g><circle cx="130" cy="196" r="36" fill="#f0c3a0"/><path d="M94 190a36 36 0 0 1 72 0q-36-22-72 0z" fill="#4a2f22"/>
    <path d="M70 360q0-118 60-118t60 118z" fill="#3460b4"/></g>
    <g><circle cx="260" cy="176" r="38" fill="#8d5a3b"/><path d="M222 172a38 38 0 0 1 76 0q-38-16-76 0z" fill="#1d1512"/>
    <path d="M194 360q0-136 66-136t66 136z" fill="#d1643f"/></g>
    <g><circle cx="392" cy="188" r="36" fill="#f3d2b3"/><path d="M352 214q-6-66 40-66t40 66q-8-34-40-34t-40 34z" fill="#c99a3b"/>
    <path d="M330 360q0-124 62-124t62 124z" fill="#2f7d6b"/></g>
    <g><circle cx="518" cy="200" r="35" fill="#d9a27a"/><path d="M483 194a35 35 0 0 1 70 0q-35-20-70 0z" fill="#6d6a70"/>
    <path d="M460 360q0-114 58-114t58 114z" fill="#6b4fa0"/></g>
    </svg>

    """

  static let logo = """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="256" height="256" role="img" aria-label="Logo">
    <rect width="64" height="64" rx="14" fill="#2852a0"/><path d="M16 32h14m4 0h14" stroke="#fff" stroke-width="6" stroke-linecap="round"/>
    <circle cx="32" cy="32" r="7" fill="#ffb84d"/></svg>

    """
}
