-- The outbox: a back end inserts a row in its own transaction, and gema publishes it once that has been committed.
-- A row that has been published is deleted. One that cannot be published stays, with the reason in "error".
create table broadcasts (
    id integer primary key autoincrement,
    app text,                                     -- the app's id; null: the app that auth.app names
    channel text not null,
    event text not null,
    data text not null,                           -- sent as it stands, so JSON as text
    socket_id text,                               -- this connection does not hear the event
    created_at integer not null default (cast((julianday('now') - 2440587.5) * 86400000 as integer)), -- unix ms
    error text
);
-- "Which are next?" is asked many times a second; rows that were set aside are not looked through for it.
create index broadcasts_next on broadcasts (id) where error is null;
