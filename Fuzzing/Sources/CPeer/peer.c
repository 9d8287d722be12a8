#include "peer.h"

#include <arpa/inet.h>
#include <http_parser.h>
#include <stdio.h>
#include <string.h>

enum { MOST_FIELDS = 4096, MOST_BODY = 1 << 16 };

static peer_head result;
static peer_field fields[MOST_FIELDS];
static uint8_t body[MOST_BODY];
static size_t body_count;
static const char *start;
static int in_value, skips_body;

static int on_url(http_parser *parser, const char *at, size_t length) {
  (void)parser;
  if (!result.url_end) result.url = (uint32_t)(at - start);
  result.url_end = (uint32_t)(at - start + length);
  return 0;
}

static int on_field(http_parser *parser, const char *at, size_t length) {
  (void)parser;
  if (result.field_count == 0 || in_value) {
    if (result.field_count == MOST_FIELDS) return 1;
    in_value = 0;
    uint32_t offset = (uint32_t)(at - start);
    fields[result.field_count++] = (peer_field){offset, offset, 0, 0};
  }
  fields[result.field_count - 1].name_end = (uint32_t)(at - start + length);
  return 0;
}

static int on_value(http_parser *parser, const char *at, size_t length) {
  (void)parser;
  peer_field *field = &fields[result.field_count - 1];
  if (!in_value) field->value = (uint32_t)(at - start);
  in_value = 1;
  field->value_end = (uint32_t)(at - start + length);
  return 0;
}

static int on_head(http_parser *parser) {
  result.head_complete = 1;
  result.method = parser->type == HTTP_REQUEST ? http_method_str(parser->method) : "";
  result.major = parser->http_major;
  result.minor = parser->http_minor;
  result.status = parser->status_code;
  result.has_length = (parser->flags & F_CONTENTLENGTH) != 0;
  result.is_chunked = (parser->flags & F_CHUNKED) != 0;
  result.length = parser->content_length;
  // What its caller has to know by itself: an answer to HEAD has no body.
  if (skips_body) parser->flags |= F_SKIPBODY;
  result.keep_alive = http_should_keep_alive(parser) != 0;
  return skips_body;
}

static int on_body(http_parser *parser, const char *at, size_t length) {
  (void)parser;
  if (length > MOST_BODY - body_count) return 1;
  memcpy(body + body_count, at, length);
  body_count += length;
  return 0;
}

static int on_end(http_parser *parser) {
  result.message_complete = 1;
  http_parser_pause(parser, 1);
  return 0;
}

peer_head peer_read(int type, const uint8_t *bytes, size_t count, int is_answer_to_head) {
  http_parser parser;
  http_parser_settings settings;
  http_parser_settings_init(&settings);
  settings.on_url = on_url;
  settings.on_header_field = on_field;
  settings.on_header_value = on_value;
  settings.on_headers_complete = on_head;
  settings.on_body = on_body;
  settings.on_message_complete = on_end;
  memset(&result, 0, sizeof result);
  result.method = "";
  body_count = 0;
  in_value = 0;
  skips_body = is_answer_to_head;
  start = (const char *)bytes;
  http_parser_init(&parser, type == PEER_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
  result.consumed = http_parser_execute(&parser, &settings, start, count);
  result.error = parser.http_errno == HPE_PAUSED ? 0 : (int)parser.http_errno;
  result.error_name = http_errno_name((enum http_errno)parser.http_errno);
  return result;
}

peer_field peer_field_at(uint32_t index) { return fields[index < MOST_FIELDS ? index : 0]; }

size_t peer_body(const uint8_t **bytes) {
  *bytes = body;
  return body_count;
}

peer_url peer_parse_url(const uint8_t *bytes, size_t count, int is_connect) {
  struct http_parser_url url;
  peer_url out;
  memset(&out, 0, sizeof out);
  http_parser_url_init(&url);
  out.error = http_parser_parse_url((const char *)bytes, count, is_connect, &url);
  out.has_host = (url.field_set >> UF_HOST) & 1;
  out.has_path = (url.field_set >> UF_PATH) & 1;
  out.has_query = (url.field_set >> UF_QUERY) & 1;
  out.has_port = (url.field_set >> UF_PORT) & 1;
  out.has_user = (url.field_set >> UF_USERINFO) & 1;
  out.has_fragment = (url.field_set >> UF_FRAGMENT) & 1;
  out.host = url.field_data[UF_HOST].off;
  out.host_end = out.host + url.field_data[UF_HOST].len;
  out.path = url.field_data[UF_PATH].off;
  out.path_end = out.path + url.field_data[UF_PATH].len;
  out.query = url.field_data[UF_QUERY].off;
  out.query_end = out.query + url.field_data[UF_QUERY].len;
  out.port = url.port;
  return out;
}

void peer_say(uint8_t byte) { fputc(byte, stderr); }

int peer_is_address(int family, const char *text) {
  unsigned char address[16];
  return inet_pton(family == 6 ? AF_INET6 : AF_INET, text, address);
}
