"""Backups of a running installation: the database, and the bytes of all images.

A place of backups is a store: manifests and chunks, each stored once for all backups, and a record `backups/NAME.json` for each
backup. The copy of the database is stored as a disk, so its unchanged chunks are shared, too.

A backup is written in this order, so that an interrupted one is never listed:

1. a hold (`catalog.backups`): garbage collection keeps the manifests of the copied database;
2. a copy of the database on one snapshot (`maintenance.copy`);
3. the chunks and manifests that the place lacks, each verified;
4. the copy of the database;
5. the record.

A backup contains the master key only encrypted with a passphrase, and only on request.
"""
