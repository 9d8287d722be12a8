/// The files of the demo's pages, built into the binary.
package enum DemoAsset: String, Sendable, CaseIterable {
  case mailPage = "mail.html"
  case portalPage = "portal.html"
  case filesPage = "files.html"
  case themeStyle = "theme.css"
  case mailStyle = "mail.css"
  case portalStyle = "portal.css"
  case mailScript = "mail.js"
  case portalScript = "portal.js"
  case intercomScript = "intercom.js"
  case filesScript = "files.js"
  case pickerScript = "picker.js"
  case stepsScript = "steps.js"
  case interfaceScript = "ui.js"
  case logo = "logo.svg"

  package var content: [UInt8] {
    switch self {
    case .mailPage: PackageResources.mail_html
    case .portalPage: PackageResources.portal_html
    case .filesPage: PackageResources.files_html
    case .themeStyle: PackageResources.theme_css
    case .mailStyle: PackageResources.mail_css
    case .portalStyle: PackageResources.portal_css
    case .mailScript: PackageResources.mail_js
    case .portalScript: PackageResources.portal_js
    case .intercomScript: PackageResources.intercom_js
    case .filesScript: PackageResources.files_js
    case .pickerScript: PackageResources.picker_js
    case .stepsScript: PackageResources.steps_js
    case .interfaceScript: PackageResources.ui_js
    case .logo: PackageResources.logo_svg
    }
  }

  package var mediaType: String {
    switch self {
    case .mailPage, .portalPage, .filesPage: "text/html; charset=utf-8"
    case .themeStyle, .mailStyle, .portalStyle: "text/css; charset=utf-8"
    case .logo: "image/svg+xml"
    default: "text/javascript; charset=utf-8"
    }
  }
}
