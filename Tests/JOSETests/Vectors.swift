/// Tokens that other implementations signed: those of the RFCs, and one of each algorithm by the Java platform's own provider (OpenJDK 17,
/// payload `{"iss":"joe"}`), because OpenSSL verifying OpenSSL would prove little.
enum Vectors {
  /// RFC 7515 §A.2 and §A.3: the keys and the tokens.
  static let rfc7515RSAKey = #"{"kty":"RSA","e":"AQAB","n":""# + rfc7515Modulus + #""}"#
  private static let rfc7515Modulus = """
    ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_\
    YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD\
    Zlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ
    """
  static let rfc7515RS256 = """
    eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4h\
    iUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKB\
    YNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZES\
    c6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw
    """
  static let rfc7515ECKey = """
    {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIW\
    I5a0"}
    """
  static let rfc7515ES256 = """
    eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEh\
    U3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q
    """

  /// RFC 8037 §A.1 and §A.4.
  static let rfc8037Secret = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
  static let rfc8037Public = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
  static let rfc8037Token = """
    eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5\
    BhVsPt9g7sVvpAr_MuM0KAg
    """

  /// The keys of the Java provider, in the form of a JWK Set; none has a `kid` or an `alg`.
  static let javaKeys = """
    {"keys":[{"kty":"RSA","n":"uHfTUHl8Mtvo1DuEw2O1l5I2O-fC4Ee-iEgaKMAebSslujUkXXAJJvr1ZgkjsxbEo-IP4pA8smKwngOOClyvIXrOpSq0f\
    dP1csBui4XYppEGbcjlJir4D875YMmSD_2lpojP07LCo54APcR4B4iEAn40fr-SqwSjtmmR_hyKGCvZkpB5rbvAteKPzABL7xCUqpzpCOCUcn60hK3O6NGwY\
    g59aEnWUrHOQ-uku3ddEJIhFYNMSyqTzFyrWrsXnAhe9vFczmnysJvG_MGVv14VuRwhjk6CzNtMqjH7CrhnvYQYmem4J283IE7kRTWWuy-bhWIfXrKa6hupe\
    23pO3MnAQ","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"4AXUguZI4ryAtTNp3yANYSQVPR4MvjV-0LBrxe_c0wE","y":"83e9JWkmjEDkLdmx\
    pgpRqNJmd_js5oO6ZHA_0qKK0z8"},{"kty":"EC","crv":"P-384","x":"ajPaHSR2gcXylAwrQt_hpwFsdxYwtPAxAaz0ZKaiVO75pRcnLplIxNpoImN\
    61yOM","y":"hV5mqQGg-Nb4NpZGImHAiSuj09tvBgEFTZoVKfD7k_s3yNEmgJkAIWh2e3mqyv4Z"},{"kty":"EC","crv":"P-521","x":"AWtnuyX9Ky\
    HvACG1m0RiP0QKdtOzSappqBJuf6D8peV1ip870cpQCJ9seWMoIuLNJP7dNOkKwei2SUf0d4sPpbSp","y":"AFuMf3uutKEnvvW0V9hzdUzy3teHhwfI4Qm\
    YXb2-74Ap-Ve2YKEqvDiF_Z4_Rxv5HwlCzf1BiHF3ygOtUb82HFx_"},{"kty":"OKP","crv":"Ed25519","x":"W5PCZ64lAylPdcneBtPCQyzUmI2skY\
    hU-kkR5CowTDI"}]}
    """

  /// By algorithm name; `PS256salt20` has a salt of 20 bytes, which RFC 7518 §3.5 forbids.
  static let javaTokens: [String: String] = [
    "ES256": """
    eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UifQ.hx-OQoBSmokfrUnhPZHkxi-XU6sw97ymCjJNehQaKYj-D9Fp9ujugVBQbW1Zd5LK-lEH_tJiGbziqH4G\
    7R--Tg
    """,
    "ES384": """
    eyJhbGciOiJFUzM4NCJ9.eyJpc3MiOiJqb2UifQ.ammeUAGBqO33VlEG6VrXI9Fh0sOQ7s4CEGJXfingeT1rIYY2jlbA3z7aH4PARoLnuFOH9Rb_qQe4rvq-\
    k8cGJrGa5fpZF8f0T3pt6bdxniNvDj0JrrQmmiDXJP4O1XwE
    """,
    "ES512": """
    eyJhbGciOiJFUzUxMiJ9.eyJpc3MiOiJqb2UifQ.AT09L-U_50FCcWeRu2K2GG0XaxtL2ynrzjuxXp6kn-PuXVMpN8CILboZZ1IWOpPB_UoOMcyR-Nvs9SC-\
    576LJtE-ABfQXz45gqt3rMsJCynZi_HPlc_0rIV3SFlpq8wnWIbxo3mfzgnDQkm_CnrpzVAl3Eqdos7rWY5uGlqKhQJfyPhr
    """,
    "EdDSA": """
    eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJqb2UifQ.wgS1C3iQfQVR0mXsFbhDfuhQbWK5OMnIAbigibr0n1BmTpZE0sh3nEPRjmYTLUgj-rEF0-HUDOTvVErS\
    wNW-Bw
    """,
    "PS256": """
    eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJqb2UifQ.kWdD2zg6d6x2oh6z426oMHlHWCBjf9v_d3f-yfNHCO7k2KpaTnUXailAlmj4CAfkSuiEIdFOzWUcMSfK\
    vMkyVg52bSxFQtpfTztEcRhFID71_uyjkTa4_9dTwVxeGUJNHGLJfjR5wdFBfMlR-aZUvWEblTiu06fDqvwiF5gNTICQ55KFd_i-mLhOSdHtIj_2FLW89RF6\
    -sgiPCT8BVRr41xDrgoVE_lVuGQ3FvssWaH5oe9YRpNhrXIrxVsqYcXHG-aJily5M0SpoJDCcPWgQCerhaCOgtVPLgc_TpS1tS0WzfvVNYWBRnVBgTQdvzwh\
    yfoCihwcplWN8LjuZ0oAOQ
    """,
    "PS256salt20": """
    eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJqb2UifQ.m0-OPiLd52p6b5sP-fUuL0GOP2hasIYUSTueSirULES-fQMX-dzeCm2iUP1DLFm1LA4r-lPItooEmGvL\
    0orguDPQjNJQXh1fy5DUbZfOeVE0jJCDuWAvYowfjAEMzXlh8SKy8ex0sooa7ELQid2tn08h26Gy1L7jVvQ8XfVb-ZU7VsDXjM2_pqrd3U-JYR1NwUK7AhxN\
    tGBnDBwGfDa6Ikrj3glCDwrnGKAD_yYnqn8hB1ENIDCdf6ttJJCLpDi_jwRUC_sVXsu_9brBlruzTlYD7s5RpCyfH4RRNOqWqyPXZcPmh7g0jYhNacYGZfxV\
    Eq_pXGMZsoqN6BkaGYLwSg
    """,
    "PS384": """
    eyJhbGciOiJQUzM4NCJ9.eyJpc3MiOiJqb2UifQ.PaltvDph-s0-dhJJwmnQjnuFABeOkCuQN9QAv9ySIQFvsiar0YfXYxlcVCWSm11Uq5lOaIJDiwW5CqCI\
    NWWsGnATRU7wCI2S3ZOaxHuBlOBV06wEd2mGVWUOL8EATH2jxM9I-rJuMmfTndwc35jkd4CtfG-ygB1BsOm76JWYkOUljWu4wMS_-5LHeAwJ7VbyV9Tx_s6Y\
    -i1iuOBjgUfLni85-iPRx3PylsQtqVlknZGdgzdg-Eaa33QSP34E3dBpGv0B8ZNPczLNLBUKiBsNFTr3GK4mjBDlGnxsKIuOu0NhkSlGXRh6YGxiiOd_IAOZ\
    wDmeuVteOmi4Ha1MeVDxog
    """,
    "PS512": """
    eyJhbGciOiJQUzUxMiJ9.eyJpc3MiOiJqb2UifQ.ROQt1ku1hPpmJPEz_uvulMRE4TUr_WOW9mVlbEhwGaWjHfHUB6sptxJ7IKUNOcISqJjDV2kELrw9MKQY\
    HXboMFQgAH9Cwkvft72oUmLeWrNfX0ZAaDoxKH4zxm2ONmvyHqsG_U_pkvjgPP3xSAnQWp7yhPzZNsDLx-yR42qVBT-x7sJOvKZhEijPXP_CNzWK-DMTxIAf\
    o-aA6IdXTAzB5WP6GCcXtCDTgvlH-V_vD_hK4XHR1Hdxqd-4HWJ1k68yo080T4wLOwoZszwtpFRO-c87iLMV3pRnVuqhrdQ2xQnyMrjMQkmi4NYeFC4N97Yg\
    -dtcVxoB5g6y5HTYadLVIw
    """,
    "RS256": """
    eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UifQ.ihrupb1hT5YUkfqVmwk45cY1351imvBLp07-znGOyWRChJMb1JFCr3SjTwSKOLw0jlH_FbMzFgr3CdyQ\
    xuLZuE-9QGsKqEygUTErTL_BgHUmqMlcYl1al5Yxa8RLTg4VAzCySeXLykxlSmSQUcEOa8_TvLjwlO5d_Cz1ERI1_mYt8sXA8HlcfGFheG7kIWKA06imETUO\
    zNBFePTYa8LEeEuVBGIbayilqOVIha2KAriOnQz1fCe_pwGYfwS5TqMqFLuYdYnOZGo_9swUkJfkQy4KQjuXILh3dr0_bqS-TTRUv9T5j4RcCV3xqPjJ5VhH\
    C9MmKxzyq3Sh2yVQj_9WxA
    """,
    "RS384": """
    eyJhbGciOiJSUzM4NCJ9.eyJpc3MiOiJqb2UifQ.HlBHBHZ96-jr6HShoMIgts9BaZN1JxdNDQMsm67AJLAANrxtpywcf-iAV5T2o9Jjuj3k1QcHO_c7I5RO\
    m3M6e92yP1vSwRZchCauXrUFEli5ViK574m4HtrUe4CmFy7CHXnPog9bH_ayHzvFoQsyaak7lq05p5ox4Sg2iG9OUqZyQqt1b4RfMjo7XCH-yQlPl64mK40t\
    _3AlTQUIoF8Y2JLZi4cr7poQDu7FxZBMZlmyF6TLiGXAFY5Cxdtu7F-ShTOteaZdmociyhUMuY5c9g3YVcrIxpyIr698JyR8iS_va_8URLyxUo1betrONL5l\
    B5lzByJsAvQ__LX5GTI8Tw
    """,
    "RS512": """
    eyJhbGciOiJSUzUxMiJ9.eyJpc3MiOiJqb2UifQ.LmE_Or534V5oUnmf9943_tlv_e6KJvKLSNpHI0UYzDXKi5yUXwnE3xuFDM9TSfFAZQDrssOV80rNyivd\
    _dWLLCwCUzVXay1euPsqrfZxLaCNl18Vo5l3_TCljGoSU3RsRi0gKaJs-kC8Vppn7Oxq7HCeFmqJWKwJ_W_yFi_jnlOR-Fxx5q7khBARydQb1Tpmn48Agdmd\
    gGYXRbgTzy1UZMGoaW_1n-3VQz2bpIgZS2kPPOqmK3sTZ7Nb5paH3lGJVjD4ZtaNsFN8C-n--icA9BlY255b5Q_SuDrzLqwCGXAZBigX7Ts-z23Rv4RCv7dK\
    ym6cP1tr4_llB_SSAWJAiw
    """,
  ]
}
