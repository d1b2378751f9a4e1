-- Apps besides those of the configuration (database.apps); a column is what the key of that name is under [[apps]].
-- A change is in force at the next look (database.apps_refresh_s).
create table if not exists apps (
    id varchar(255) not null primary key,
    `key` varchar(255) not null unique,
    secret varchar(255) not null,
    enabled boolean not null default true,
    client_events boolean not null default true,
    subscription_count boolean not null default false,
    watchlist boolean not null default true,
    allowed_origins text,                         -- a JSON list, or patterns with commas between; null: all pages
    max_connections integer not null default 0,   -- 0: any number
    authorized_only_s integer not null default 0, -- 0: it need not
    encryption_master_key varchar(255),                    -- base64 of 32 bytes
    webhooks text                                 -- a JSON list, each entry as an [[apps.webhooks]]
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;
