"""Backups of an installation that is in use: the database, and the bytes of all images.

A place of backups is itself a store: manifests and chunks, each once for all backups, and one record `backups/NAME.json` for
each backup. The copy of the database is stored as a disk, so its unchanged parts are shared as well.

A backup is made in this order, so that one that was cut short is never listed:

1. a hold (`catalog.backups`), so that garbage collection keeps what the copied database refers to;
2. a copy of the database as of one moment (`catalog.snapshot`);
3. the chunks and manifests that the place lacks, each verified on the way;
4. the copy of the database;
5. the record.

The master key is not in a backup, unless it is encrypted with a passphrase.
"""
