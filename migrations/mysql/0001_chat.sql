-- What tokens have said about users. Ids are the back end's.
create table users (
    id bigint primary key,
    username varchar(255),
    avatar text,
    table_number varchar(255),
    updated_at_ms bigint not null
) default character set utf8mb4;

-- Lists are paged by id. Times are milliseconds since 1970 in UTC. Ids of clients differ when their case does.
create table messages (
    id bigint auto_increment primary key,
    sender_id bigint not null,
    receiver_id bigint not null,
    content mediumtext not null,
    is_read boolean not null default false,
    client_id varchar(64) character set utf8mb4 collate utf8mb4_bin,
    created_at_ms bigint not null,
    updated_at_ms bigint not null,
    -- History and recent chats, from both sides.
    index messages_from (sender_id, receiver_id, id),
    index messages_to (receiver_id, sender_id, id),
    index messages_unread (receiver_id, is_read, id),
    unique index messages_client_id (sender_id, client_id)
) default character set utf8mb4;
