// What dev/bench runs beside `intercom serve`; Benchmarks/README.md says what is measured with it.
//
//   bench-host provider PORT BASE SECRET LIFE   the embedded provider with one client whose base URL is BASE; its tokens live LIFE seconds
//   bench-host serve CONFIG COUNT              `intercom serve` on a memory store that holds COUNT sessions; prints their cookies, then `ready`
//   bench-host seed CONFIG COUNT [SUBJECT]     puts COUNT sessions into the store of the configuration, all of SUBJECT or each of a person of its
//                                              own, and prints their cookies, then `ready`

BenchHost.main()
