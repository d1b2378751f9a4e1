-- The outbox: a back end inserts a row in its own transaction, and gema publishes it once that has been committed.
-- A row that has been published is deleted. One that cannot be published stays, with the reason in "error".
create table broadcasts (
    id bigint not null auto_increment primary key,
    app varchar(255),                             -- the app's id; null: the app that auth.app names
    channel varchar(255) not null,
    event varchar(255) not null,
    data mediumtext not null,                     -- sent as it stands, so JSON as text
    socket_id varchar(64),                        -- this connection does not hear the event
    created_at bigint not null default (cast(unix_timestamp(current_timestamp(3)) * 1000 as signed)), -- unix ms
    error varchar(1000),
    -- "Which are next?" is asked many times a second; rows that were set aside are not looked through for it.
    set_aside boolean generated always as (error is not null) stored,
    key broadcasts_next (set_aside, id)
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;
