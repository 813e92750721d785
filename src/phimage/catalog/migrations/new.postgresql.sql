CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE account (
    id TEXT NOT NULL,
    operator BOOLEAN NOT NULL,
    company TEXT NOT NULL,
    email TEXT NOT NULL,
    zones TEXT NOT NULL,
    networks TEXT NOT NULL,
    created BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_account PRIMARY KEY (id, since)
);

CREATE UNIQUE INDEX uq_account_live ON account (id) WHERE until = 9223372036854775807;

CREATE TABLE change (
    revision BIGINT NOT NULL,
    position INTEGER NOT NULL,
    noun TEXT NOT NULL,
    id TEXT NOT NULL,
    scope TEXT NOT NULL,
    verb TEXT NOT NULL,
    CONSTRAINT pk_change PRIMARY KEY (revision, position)
);

CREATE INDEX ix_change_scope_revision ON change (scope, revision);

CREATE TABLE cluster (
    id TEXT NOT NULL,
    description TEXT NOT NULL,
    "default" BOOLEAN NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_cluster PRIMARY KEY (id, since)
);

CREATE UNIQUE INDEX uq_cluster_live ON cluster (id) WHERE until = 9223372036854775807;

CREATE TABLE head (
    one INTEGER NOT NULL,
    number BIGINT NOT NULL,
    time BIGINT NOT NULL,
    CONSTRAINT pk_head PRIMARY KEY (one)
);

CREATE TABLE image (
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    project TEXT NOT NULL,
    family TEXT NOT NULL,
    name TEXT NOT NULL,
    os_type TEXT NOT NULL,
    os_name TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    deprecated BOOLEAN NOT NULL,
    size INTEGER NOT NULL,
    created BIGINT NOT NULL,
    zones TEXT NOT NULL,
    support TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_image PRIMARY KEY (id, since)
);

CREATE INDEX ix_image_project_until ON image (project, until);

CREATE UNIQUE INDEX uq_image_live ON image (id) WHERE until = 9223372036854775807;

CREATE TABLE key (
    id TEXT NOT NULL,
    account TEXT NOT NULL,
    "user" INTEGER NOT NULL,
    sealed BYTEA NOT NULL,
    created BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_key PRIMARY KEY (id, since)
);

CREATE INDEX ix_key_account_until ON key (account, until);

CREATE UNIQUE INDEX uq_key_live ON key (id) WHERE until = 9223372036854775807;

CREATE TABLE job (
    id TEXT NOT NULL,
    image TEXT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL,
    phase TEXT NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT NOT NULL,
    error TEXT NOT NULL,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    lease_until FLOAT NOT NULL,
    created FLOAT NOT NULL,
    CONSTRAINT pk_job PRIMARY KEY (id)
);

CREATE INDEX ix_job_image ON job (image);

CREATE INDEX ix_job_state_created ON job (state, created);

CREATE TABLE machine_type (
    id TEXT NOT NULL,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    disk_class TEXT NOT NULL,
    cpu TEXT NOT NULL,
    memory INTEGER NOT NULL,
    disks TEXT NOT NULL,
    gpu TEXT,
    raid_supported BOOLEAN NOT NULL,
    scenes TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_machine_type PRIMARY KEY (id, since)
);

CREATE UNIQUE INDEX uq_machine_type_live ON machine_type (id) WHERE until = 9223372036854775807;

CREATE TABLE membership (
    project TEXT NOT NULL,
    "user" INTEGER NOT NULL,
    account TEXT NOT NULL,
    role TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_membership PRIMARY KEY (project, "user", since)
);

CREATE INDEX ix_membership_account_until ON membership (account, until);

CREATE UNIQUE INDEX uq_membership_live ON membership (project, "user") WHERE until = 9223372036854775807;

CREATE TABLE offer (
    machine_type TEXT NOT NULL,
    zone TEXT NOT NULL,
    cluster TEXT NOT NULL,
    stock INTEGER NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_offer PRIMARY KEY (machine_type, zone, cluster, since)
);

CREATE UNIQUE INDEX uq_offer_live ON offer (machine_type, zone, cluster) WHERE until = 9223372036854775807;

CREATE TABLE project (
    id TEXT NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    "default" BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_project PRIMARY KEY (id, since)
);

CREATE INDEX ix_project_account_until ON project (account, until);

CREATE UNIQUE INDEX uq_project_live ON project (id) WHERE until = 9223372036854775807;

CREATE TABLE rate_use (
    key TEXT NOT NULL,
    process TEXT NOT NULL,
    used BIGINT NOT NULL,
    time BIGINT NOT NULL,
    CONSTRAINT pk_rate_use PRIMARY KEY (key, process)
);

CREATE TABLE region (
    id TEXT NOT NULL,
    number INTEGER NOT NULL,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    "default" BOOLEAN NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_region PRIMARY KEY (id, since)
);

CREATE UNIQUE INDEX uq_region_live ON region (id) WHERE until = 9223372036854775807;

CREATE TABLE revision (
    number BIGSERIAL NOT NULL,
    time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    CONSTRAINT pk_revision PRIMARY KEY (number)
);

CREATE INDEX ix_revision_time ON revision (time);

CREATE TABLE "user" (
    id INTEGER NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    main BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_user PRIMARY KEY (id, since)
);

CREATE INDEX ix_user_account_until ON "user" (account, until);

CREATE UNIQUE INDEX uq_user_live ON "user" (id) WHERE until = 9223372036854775807;

CREATE TABLE zone (
    id TEXT NOT NULL,
    region TEXT NOT NULL,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_zone PRIMARY KEY (id, since)
);

CREATE UNIQUE INDEX uq_zone_live ON zone (id) WHERE until = 9223372036854775807;

INSERT INTO head (one, number, time) VALUES (1, 0, 0);

CREATE TABLE content (
    image TEXT NOT NULL,
    project TEXT NOT NULL,
    source TEXT NOT NULL,
    source_digest TEXT NOT NULL,
    digest_origin TEXT NOT NULL,
    format TEXT NOT NULL,
    overrides TEXT NOT NULL,
    wanted TEXT NOT NULL,
    manifest TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    published BIGINT NOT NULL,
    failure TEXT NOT NULL,
    findings TEXT NOT NULL,
    facts TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_content PRIMARY KEY (image, since)
);

CREATE UNIQUE INDEX uq_content_live ON content (image) WHERE until = 9223372036854775807;

CREATE INDEX ix_content_project_until ON content (project, until);

CREATE TABLE quota (
    project TEXT NOT NULL,
    most BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_quota PRIMARY KEY (project, since)
);

CREATE UNIQUE INDEX uq_quota_live ON quota (project) WHERE until = 9223372036854775807;

ALTER TABLE job ADD COLUMN project TEXT DEFAULT '' NOT NULL;

ALTER TABLE job ADD COLUMN actor TEXT DEFAULT '' NOT NULL;

ALTER TABLE job ADD COLUMN token TEXT DEFAULT '' NOT NULL;

ALTER TABLE job ADD COLUMN reserved BIGINT DEFAULT '0' NOT NULL;

CREATE INDEX ix_job_token ON job (token);

ALTER TABLE head ADD COLUMN oldest TEXT DEFAULT '0001' NOT NULL;

ALTER TABLE job ADD COLUMN not_before FLOAT DEFAULT '0' NOT NULL;

ALTER TABLE job ADD COLUMN failures INTEGER DEFAULT '0' NOT NULL;

CREATE TABLE hold (
    id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    expires FLOAT NOT NULL,
    reason TEXT NOT NULL,
    CONSTRAINT pk_hold PRIMARY KEY (id)
);

CREATE TABLE backup (
    place TEXT NOT NULL,
    name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    finished FLOAT NOT NULL,
    verified FLOAT NOT NULL,
    CONSTRAINT pk_backup PRIMARY KEY (place)
);

DROP INDEX uq_content_live;

DROP INDEX ix_content_project_until;

ALTER TABLE content RENAME TO image_bytes;

ALTER INDEX pk_content RENAME TO pk_image_bytes;

ALTER TABLE image_bytes RENAME wanted TO target_state;

CREATE UNIQUE INDEX uq_image_bytes_live ON image_bytes (image) WHERE until = 9223372036854775807;

CREATE INDEX ix_image_bytes_project_until ON image_bytes (project, until);

ALTER TABLE key RENAME sealed TO encrypted;

ALTER TABLE quota RENAME most TO max_bytes;

UPDATE change SET noun = 'image_bytes' WHERE noun = 'content';

UPDATE membership SET role = 'editor' WHERE role = 'operator';

CREATE TABLE nonce (
    key TEXT NOT NULL,
    nonce TEXT NOT NULL,
    time BIGINT NOT NULL,
    CONSTRAINT pk_nonce PRIMARY KEY (key, nonce)
);

CREATE INDEX ix_nonce_time ON nonce (time);

CREATE TABLE key_use (
    key TEXT NOT NULL,
    day TEXT NOT NULL,
    CONSTRAINT pk_key_use PRIMARY KEY (key)
);

ALTER TABLE key ADD COLUMN expires BIGINT DEFAULT '0' NOT NULL;

ALTER TABLE image ADD COLUMN deprecation_time BIGINT DEFAULT '0' NOT NULL;

ALTER TABLE image ADD COLUMN successor TEXT DEFAULT '' NOT NULL;

ALTER TABLE image ADD COLUMN labels TEXT DEFAULT '{}' NOT NULL;

CREATE INDEX ix_image_deprecation_time ON image (deprecation_time) WHERE deprecation_time > 0;

ALTER TABLE job ADD COLUMN sent BIGINT DEFAULT '0' NOT NULL;

ALTER TABLE job ADD COLUMN reused BIGINT DEFAULT '0' NOT NULL;

CREATE TABLE host (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    zone TEXT NOT NULL,
    machine_type TEXT NOT NULL,
    cluster TEXT NOT NULL,
    serial TEXT NOT NULL,
    macs TEXT NOT NULL,
    hint TEXT NOT NULL,
    created BIGINT NOT NULL,
    state TEXT NOT NULL,
    project TEXT NOT NULL,
    assigned BIGINT NOT NULL,
    tenant_name TEXT NOT NULL,
    remark TEXT NOT NULL,
    tag TEXT NOT NULL,
    image TEXT NOT NULL,
    manifest TEXT NOT NULL,
    deployed BIGINT NOT NULL,
    "order" TEXT NOT NULL,
    failure TEXT NOT NULL,
    suspended TEXT NOT NULL,
    key TEXT NOT NULL,
    token TEXT NOT NULL,
    disks TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    CONSTRAINT pk_host PRIMARY KEY (id, since)
);

CREATE UNIQUE INDEX uq_host_live ON host (id) WHERE until = 9223372036854775807;

CREATE INDEX ix_host_project_until ON host (project, until);

CREATE INDEX ix_host_image_until ON host (image, until);

CREATE TABLE host_key (
    id TEXT NOT NULL,
    host TEXT NOT NULL,
    is_token BOOLEAN NOT NULL,
    encrypted BYTEA NOT NULL,
    boot TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    CONSTRAINT pk_host_key PRIMARY KEY (id)
);

CREATE INDEX ix_host_key_host ON host_key (host);

CREATE TABLE host_contact (
    host TEXT NOT NULL,
    heard FLOAT NOT NULL,
    address TEXT NOT NULL,
    version TEXT NOT NULL,
    disk TEXT,
    CONSTRAINT pk_host_contact PRIMARY KEY (host)
);

CREATE TABLE host_order (
    id TEXT NOT NULL,
    host TEXT NOT NULL,
    kind TEXT NOT NULL,
    created FLOAT NOT NULL,
    heard FLOAT NOT NULL,
    image TEXT NOT NULL,
    manifest TEXT NOT NULL,
    job TEXT NOT NULL,
    project TEXT NOT NULL,
    account TEXT NOT NULL,
    actor TEXT NOT NULL,
    trim BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    fence INTEGER NOT NULL,
    phase TEXT NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT NOT NULL,
    sent BIGINT NOT NULL,
    reused BIGINT NOT NULL,
    error TEXT NOT NULL,
    receipt TEXT NOT NULL,
    ended FLOAT NOT NULL,
    CONSTRAINT pk_host_order PRIMARY KEY (id)
);

CREATE INDEX ix_host_order_host ON host_order (host);

CREATE INDEX ix_host_order_state ON host_order (state);

CREATE INDEX ix_host_order_image ON host_order (image);

CREATE TABLE login_code (
    digest TEXT NOT NULL,
    key TEXT NOT NULL,
    expires BIGINT NOT NULL,
    CONSTRAINT pk_login_code PRIMARY KEY (digest)
);

CREATE INDEX ix_login_code_expires ON login_code (expires);

CREATE TABLE console_session (
    digest TEXT NOT NULL,
    key TEXT NOT NULL,
    started BIGINT NOT NULL,
    used BIGINT NOT NULL,
    CONSTRAINT pk_console_session PRIMARY KEY (digest)
);

CREATE INDEX ix_console_session_key ON console_session (key);

CREATE INDEX ix_console_session_used ON console_session (used);

INSERT INTO alembic_version (version_num) VALUES ('0011');

UPDATE head SET oldest='0006';

