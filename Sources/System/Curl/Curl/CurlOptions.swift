import CCurl

/// What holds for every call of a client.
package struct CurlOptions: Sendable {
  /// Name resolution, TCP and TLS together.
  package var connectTimeoutMilliseconds = 2_000
  /// PEM file of the only authorities that are trusted; nil: the system's.
  package var authorityFile: String?
  /// The authorities that are trusted, as PEM, in the place of the system's file; nil: the system's, or those of `authorityFile`.
  package var authorities: [UInt8]?
  /// nil: none, whatever the environment says.
  package var proxy: String?
  /// Calls that run at once; the next ones wait.
  package var maximumRunning = 128
  /// Calls that run and wait together; the next ones fail with `overloaded`.
  package var maximumOutstanding = 1_024
  package init() {}
}

/// Sets options one after the other and keeps the first refusal: a libcurl without a feature must not lose it silently.
struct OptionSetter {
  let handle: UnsafeMutableRawPointer
  private(set) var result = CURLE_OK

  init(_ handle: UnsafeMutableRawPointer) { self.handle = handle }

  private mutating func note(_ code: CURLcode) { if result == CURLE_OK { result = code } }
  mutating func set(_ option: CURLoption, _ value: Int) { note(intercom_curl_set_long(handle, option, value)) }
  mutating func set(_ option: CURLoption, _ value: String) { note(intercom_curl_set_string(handle, option, value)) }
  mutating func set(_ option: CURLoption, pointer: UnsafeRawPointer?) { note(intercom_curl_set_pointer(handle, option, pointer)) }
  mutating func set(_ option: CURLoption, _ receive: intercom_curl_receive) { note(intercom_curl_set_receive(handle, option, receive)) }

  mutating func set(_ option: CURLoption, bytes: [UInt8]) {
    note(bytes.withUnsafeBytes { intercom_curl_set_blob(handle, option, $0.baseAddress, $0.count) })
  }

  /// libcurl keeps the pointer, so the call keeps the list.
  mutating func set(_ option: CURLoption, lines: [[UInt8]], of call: CurlCall) {
    var list: UnsafeMutablePointer<curl_slist>?
    for line in lines {
      let next = (line + [0]).withUnsafeBufferPointer { bytes in
        bytes.withMemoryRebound(to: CChar.self) { curl_slist_append(list, $0.baseAddress) }
      }
      guard let next else {
        note(CURLE_OUT_OF_MEMORY)
        break
      }
      list = next
    }
    if let list { call.lists.append(list) }
    set(option, pointer: list)
  }

  /// libcurl copies the bytes; their number must be known to it before.
  mutating func setBody(_ body: [UInt8]) {
    note(intercom_curl_set_offset(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count)))
    // One byte more, so that an empty body has an address too: with none libcurl would read from standard input.
    (body + [0]).withUnsafeBytes { note(intercom_curl_set_pointer(handle, CURLOPT_COPYPOSTFIELDS, $0.baseAddress)) }
  }
}

extension CurlCall {
  /// Gives the handle everything it must know; CURLE_OK when libcurl took all of it.
  func configure(_ handle: UnsafeMutableRawPointer, _ options: CurlOptions, timeoutMilliseconds: Int) -> CURLcode {
    var setter = OptionSetter(handle)
    setter.set(CURLOPT_NOSIGNAL, 1)
    setter.set(CURLOPT_FOLLOWLOCATION, 0)
    setter.set(CURLOPT_PROTOCOLS_STR, "http,https")
    setter.set(CURLOPT_NETRC, 0)
    setter.set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
    setter.set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
    // Else ending a call whose name is still being resolved waits for the resolver's thread, and all other calls with it.
    setter.set(CURLOPT_QUICK_EXIT, 1)
    setter.set(CURLOPT_CONNECTTIMEOUT_MS, min(options.connectTimeoutMilliseconds, timeoutMilliseconds))
    setter.set(CURLOPT_TIMEOUT_MS, timeoutMilliseconds)
    setter.set(CURLOPT_PROXY, options.proxy ?? "")  // empty: http_proxy of the environment is not obeyed
    setter.set(CURLOPT_NOPROXY, "localhost,127.0.0.1,::1")
    setter.set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
    if let authorities = options.authorities, options.authorityFile == nil { setter.set(CURLOPT_CAINFO_BLOB, bytes: authorities) }
    if let file = options.authorityFile {
      setter.set(CURLOPT_CAINFO, file)
      setter.set(CURLOPT_CAPATH, pointer: nil)  // has a built-in value that would stay trusted
    }
    if !request.resolve.isEmpty { setter.set(CURLOPT_RESOLVE, lines: request.resolve.map { Array($0.utf8) }, of: self) }
    // Only what was sent on a kept connection is sent again.
    setter.set(CURLOPT_FRESH_CONNECT, request.isRepeatable ? 0 : 1)
    setter.set(CURLOPT_URL, request.url)
    // "Expect:" with nothing removes libcurl's own field: a server that ignores it would cost a second.
    setter.set(CURLOPT_HTTPHEADER, lines: request.fieldLines + [Array("Expect:".utf8)], of: self)
    switch request.method {
    case "GET" where request.body.isEmpty: setter.set(CURLOPT_HTTPGET, 1)
    case "HEAD": setter.set(CURLOPT_NOBODY, 1)
    default:
      if !request.body.isEmpty || ["POST", "PUT", "PATCH"].contains(request.method) {
        setter.set(CURLOPT_POST, 1)
        setter.setBody(request.body)
      }
      setter.set(CURLOPT_CUSTOMREQUEST, request.method)
    }
    setter.set(CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
      guard let context, let bytes else { return 0 }
      let call = Unmanaged<CurlCall>.fromOpaque(context).takeUnretainedValue()
      let length = size &* count
      return call.takeBody(UnsafeRawBufferPointer(start: bytes, count: length)) ? length : length &+ 1
    }
    setter.set(CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
      guard let context, let bytes else { return 0 }
      let call = Unmanaged<CurlCall>.fromOpaque(context).takeUnretainedValue()
      let length = size &* count
      return call.takeLine(UnsafeRawBufferPointer(start: bytes, count: length)) ? length : length &+ 1
    }
    let context = Unmanaged.passUnretained(self).toOpaque()  // the engine keeps the call until its handle is given back
    setter.set(CURLOPT_WRITEDATA, pointer: context)
    setter.set(CURLOPT_HEADERDATA, pointer: context)
    return setter.result
  }

  /// What libcurl's result means. `early`: the deadline has not passed yet.
  func failure(_ code: CURLcode, early: Bool) -> CurlFailure {
    if tooLarge { return .tooLarge }
    if malformed { return .broken("a line of the head is no field") }
    let text = String(cString: curl_easy_strerror(code))
    switch code {
    case CURLE_OPERATION_TIMEDOUT: return early ? .unreachable("connecting took too long") : .timedOut
    case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: return .unreachable(text)
    case CURLE_URL_MALFORMAT: return .refused
    case CURLE_UNSUPPORTED_PROTOCOL: return .broken("the peer does not speak HTTP")  // HTTP/0.9 included
    case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
      CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_USE_SSL_FAILED:
      return .tls(text)
    default: return .broken(text)
    }
  }
}

/// The file with the system's certificate authorities, as libcurl was built; nil when it knows none.
package func systemAuthorityFile() -> String? { intercom_curl_authorities().map { String(cString: $0) } }
