# Builds lastseen and runs it as a user without rights. It needs a database: DATABASE_URL.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The cache outlives the layer, so what is to be kept is copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/lastseen /usr/local/bin/lastseen

FROM debian:bookworm-slim
# Certificates for a database or a JWKS behind TLS; curl for the health check.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/lastseen lastseen
COPY --from=build /usr/local/bin/lastseen /usr/local/bin/lastseen

USER lastseen
WORKDIR /var/lib/lastseen
ENV LASTSEEN_LISTEN=0.0.0.0:8080 \
    LASTSEEN_DATA_DIR=/var/lib/lastseen
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["lastseen"]
CMD ["serve"]
