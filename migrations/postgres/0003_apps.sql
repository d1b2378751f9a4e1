-- Apps besides those of the configuration (database.apps); a column is what the key of that name is under [[apps]].
-- A change is in force at the next look (database.apps_refresh_s), or as soon as the trigger below tells of it.
create table apps (
    id text primary key,
    key text not null unique,
    secret text not null,
    enabled boolean not null default true,
    client_events boolean not null default true,
    subscription_count boolean not null default false,
    watchlist boolean not null default true,
    allowed_origins text,                         -- a JSON list, or patterns with commas between; null: all pages
    max_connections integer not null default 0,   -- 0: any number
    authorized_only_s integer not null default 0, -- 0: it need not
    encryption_master_key text,                    -- base64 of 32 bytes
    webhooks text                                 -- a JSON list, each entry as an [[apps.webhooks]]
);

-- Heard by gema when the transaction commits.
create function gema_apps_notify() returns trigger language plpgsql as $$
begin
    perform pg_notify('gema_apps', '');
    return null;
end
$$;
create trigger apps_notify after insert or update or delete or truncate on apps
    for each statement execute function gema_apps_notify();
