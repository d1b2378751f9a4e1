# gema in a container: docker build -t gema . && docker run -p 6001:6001 -e PUSHER_APP_SECRET=... gema
# It listens on every address of the container, and so refuses to start with the development secret.

FROM rust:1.95-slim-bookworm AS build
# jemalloc is built with make.
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /gema

# The dependencies: a layer that stays until Cargo.toml or Cargo.lock change. Cargo wants the sources that the
# manifests speak of; empty ones do.
COPY Cargo.toml Cargo.lock ./
COPY protocol/Cargo.toml protocol/
COPY bench/Cargo.toml bench/
COPY soak/Cargo.toml soak/
RUN mkdir -p src protocol/src bench/src soak/src tests \
    && echo 'fn main() {}' | tee src/main.rs bench/src/main.rs soak/src/main.rs tests/main.rs \
    && touch src/lib.rs protocol/src/lib.rs \
    && cargo build --release --locked --package gema \
    && rm -r src protocol/src

COPY src src
COPY protocol/src protocol/src
COPY config/default.toml config/
COPY migrations migrations
# Cargo goes by the time of change, and these files may be older than the empty ones were.
RUN touch src/main.rs src/lib.rs protocol/src/lib.rs \
    && cargo build --release --locked --package gema

FROM debian:bookworm-slim
# ca-certificates: webhooks and key sets are fetched over TLS. curl: the health check.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/gema gema
COPY --from=build /gema/target/release/gema /usr/local/bin/gema

USER gema
WORKDIR /var/lib/gema
ENV GEMA_SERVER__HOST=0.0.0.0 \
    GEMA_LOG_FORMAT=json
EXPOSE 6001
# Drains for server.shutdown_grace_s (10 s) and 7 s more at most: stop it with `docker stop --time 30`.
STOPSIGNAL SIGTERM
# Alive, not ready: who is draining, or cut off from Redis, must not be killed for it. With TLS, another port or a path
# prefix, give the container another check.
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:6001/up"]
ENTRYPOINT ["gema"]
CMD ["serve"]
