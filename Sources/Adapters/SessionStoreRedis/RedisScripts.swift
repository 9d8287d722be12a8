/// What must happen in one piece on the server, in its own language. Each touches one key, so that a cluster can run it where the key is.
///
/// A record is a hash: `v` version, `d` value, `x` the second from which it does not exist, `i` its indexes and `s` their stamp; a tombstone is
/// one with `v` and `t`, the second until which it lasts. Versions are the server's microseconds, or one more than the last: so they grow across
/// deletion and expiry too, and serve as fencing tokens. Time of records is the caller's: replicas share a clock well enough for seconds.
enum RedisScripts {
  /// What all begin with: `live` or not, by the caller's second in ARGV[1]. What is no record of ours is dropped, or taken for none.
  private static let beginning = """
    local now = tonumber(ARGV[1])
    local r = redis.pcall('HMGET', KEYS[1], 'v', 'x', 't', 'i', 's')
    if r.err then
      if not string.find(r.err, 'WRONGTYPE') then return r end
      redis.call('PEXPIRE', KEYS[1], 0)
      r = {false, false, false, false, false}
    end
    local live = (tonumber(r[2] or '') or 0) > now
    local buried = (tonumber(r[3] or '') or 0) > now
    local before = tonumber(r[1] or '')

    """

  /// ARGV: now, expected version or '', value, expiry, life in milliseconds, indexes, stamp or ''.
  /// Answers {'deleted'}, {'conflict'}, {'index'} (the indexes differ and no stamp was given: nothing is written), or {'written', version,
  /// indexes and stamp of before}.
  static let write = script(
    beginning + """
      if buried then return {'deleted'} end
      if ARGV[2] == '' then
        if live then return {'conflict'} end
      elseif not live or r[1] ~= ARGV[2] then
        return {'conflict'}
      end
      local indexes = live and r[4] or ''
      local stamp = live and r[5] or ''
      local newstamp = ARGV[7]
      if indexes == ARGV[6] and newstamp == '' then newstamp = stamp
      elseif newstamp == '' and ARGV[6] ~= '' then return {'index'} end
      local t = redis.call('TIME')
      local v = tonumber(t[1]) * 1000000 + tonumber(t[2])
      if before and before >= v then v = before + 1 end
      local version = string.format('%.0f', v)
      redis.call('HSET', KEYS[1], 'v', version, 'x', ARGV[4], 'd', ARGV[3], 'i', ARGV[6], 's', newstamp)
      redis.call('HDEL', KEYS[1], 't')
      redis.call('PEXPIRE', KEYS[1], ARGV[5])
      return {'written', version, indexes, stamp}
      """)

  /// ARGV: now, expected version or '', end of the tombstone or '0', life in milliseconds, '1' when the record is wanted.
  /// Answers {0}, or {1, indexes, stamp} and then, if wanted, version, expiry and value.
  static let delete = script(
    beginning + """
      if ARGV[2] ~= '' and (not live or r[1] ~= ARGV[2]) then return {0} end
      local record = live and ARGV[5] == '1' and redis.call('HMGET', KEYS[1], 'd')[1]
      local ending = tonumber(ARGV[3])
      if buried then ending = math.max(ending, tonumber(r[3])) end
      if live then redis.call('HDEL', KEYS[1], 'd', 'x', 'i', 's') end
      if ending > now then
        if not before then
          local t = redis.call('TIME')
          redis.call('HSET', KEYS[1], 'v', string.format('%.0f', tonumber(t[1]) * 1000000 + tonumber(t[2])))
        end
        redis.call('HSET', KEYS[1], 't', string.format('%.0f', ending))
        if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
      elseif live then
        redis.call('PEXPIRE', KEYS[1], ARGV[4])
      end
      if not live then return {0} end
      return {1, r[4] or '', r[5] or '', r[1] or '', r[2], record or ''}
      """)

  /// KEYS: an index. ARGV: member, stamp, life in milliseconds. The index lives as long as the longest of its members.
  static let index = script(
    """
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
    if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
    return 1
    """)

  /// KEYS: an index. ARGV: life in milliseconds.
  static let extend = script(
    """
    local left = redis.call('PTTL', KEYS[1])
    if left >= 0 and left < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
    return 1
    """)

  private static func script(_ text: String) -> [UInt8] { Array(text.utf8) }
}
