// What Debian's http-parser makes of a message, as offsets into its bytes.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct { uint32_t name, name_end, value, value_end; } peer_field;

typedef struct {
  int error;  // of http_errno; 0 is good
  const char *error_name;
  size_t consumed;
  int head_complete, message_complete;
  const char *method;
  uint32_t url, url_end;
  unsigned major, minor, status;
  int has_length, is_chunked, keep_alive;
  uint64_t length;
  uint32_t field_count;
} peer_head;

enum { PEER_REQUEST = 0, PEER_RESPONSE = 1 };

// Reads one message up to its end and keeps the result until the next call. Not for several threads.
peer_head peer_read(int type, const uint8_t *bytes, size_t count, int is_answer_to_head);
peer_field peer_field_at(uint32_t index);
// The body's bytes of the last call.
size_t peer_body(const uint8_t **bytes);

typedef struct {
  int error;
  int has_host, has_path, has_query, has_port, has_user, has_fragment;
  uint32_t host, host_end, path, path_end, query, query_end;
  uint16_t port;
} peer_url;
peer_url peer_parse_url(const uint8_t *bytes, size_t count, int is_connect);

// A byte to standard error, at once: a trap must not swallow what was found.
void peer_say(uint8_t byte);

// inet_pton: 1 when the text is an address of that family (4 or 6).
int peer_is_address(int family, const char *text);
