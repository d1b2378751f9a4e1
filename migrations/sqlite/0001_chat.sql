-- What tokens have said about users. Ids are the back end's.
create table users (
    id integer primary key,
    username text,
    avatar text,
    table_number text,
    updated_at_ms integer not null
);

-- Ids are never used again, since lists are paged by them. Times are milliseconds since 1970 in UTC.
create table messages (
    id integer primary key autoincrement,
    sender_id integer not null,
    receiver_id integer not null,
    content text not null,
    is_read boolean not null default false,
    client_id text,
    created_at_ms integer not null,
    updated_at_ms integer not null
);

-- History and recent chats, from both sides. The id is part of every index here.
create index messages_from on messages (sender_id, receiver_id);
create index messages_to on messages (receiver_id, sender_id);
create index messages_unread on messages (receiver_id) where is_read = false;
create unique index messages_client_id on messages (sender_id, client_id) where client_id is not null;
