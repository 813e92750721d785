"""Sources of image bytes: a file, a pipe, standard input, an http(s) URL.

    text ──url──▶ Url ──address_policy──▶ address ──http──▶ HttpResponse ──fetch (sniff, partial_file)──▶ work file ─┐
    path, - ──────────────────────────────────────source──────────────────────────────────────────▶ ImageSource ◀────┘
    ImageSource.open() ──digest (checksums)──▶ the original bytes ──unpack (compression)──▶ blocks of 1 MiB

No name, header or address is trusted: the bytes decide what a file is, a connection goes only to a checked address, and the
digest of the original bytes is checked last.
"""
