"""Where image bytes come from: a file, standard input, an http(s) URL.

    text ──url──▶ Url ──policy (address)──▶ Admitted ──web (watch)──▶ Answer ──fetch (judge, partial)──▶ work file ─┐
    path, - ──────────────────────────────────local───────────────────────────────────────────────▶ Source ◀──────┘
    Source.open() ──verify (digest, checksums)──▶ the original bytes ──unpack (codec, sparse)──▶ blocks of 1 MiB

Nothing here believes a name, a header or an address: what a file is is told by its bytes, a server is asked only at an
address that was checked, and the digest of the original bytes has the last word.
"""
