// curl_easy_setopt, curl_easy_getinfo and curl_multi_setopt are variadic (and type-checking macros): Swift cannot call them, so there is
// one inline per C type. The parentheses around the names keep the macros away.
#pragma once
#include <curl/curl.h>
typedef size_t (*intercom_curl_receive)(char *bytes, size_t size, size_t count, void *context);
static inline CURLcode intercom_curl_set_long(CURL *h, CURLoption o, long v) { return (curl_easy_setopt)(h, o, v); }
static inline CURLcode intercom_curl_set_offset(CURL *h, CURLoption o, curl_off_t v) { return (curl_easy_setopt)(h, o, v); }
static inline CURLcode intercom_curl_set_string(CURL *h, CURLoption o, const char *v) { return (curl_easy_setopt)(h, o, v); }
static inline CURLcode intercom_curl_set_pointer(CURL *h, CURLoption o, const void *v) { return (curl_easy_setopt)(h, o, v); }
static inline CURLcode intercom_curl_set_receive(CURL *h, CURLoption o, intercom_curl_receive v) { return (curl_easy_setopt)(h, o, v); }
// libcurl copies the bytes.
static inline CURLcode intercom_curl_set_blob(CURL *h, CURLoption o, const void *v, size_t length) {
  struct curl_blob blob = {(void *)v, length, CURL_BLOB_COPY};
  return (curl_easy_setopt)(h, o, &blob);
}
// Where the system keeps its certificate authorities, as libcurl was built; may be NULL.
static inline const char *intercom_curl_authorities(void) { return curl_version_info(CURLVERSION_NOW)->cainfo; }
static inline CURLcode intercom_curl_get_long(CURL *h, CURLINFO i, long *v) { return (curl_easy_getinfo)(h, i, v); }
static inline CURLMcode intercom_curl_multi_set_long(CURLM *m, CURLMoption o, long v) { return (curl_multi_setopt)(m, o, v); }
// The result stands in a union.
static inline CURLcode intercom_curl_result(const CURLMsg *m) { return m->data.result; }
