# pglease and its workers in a container: built with Swift's image, run on Debian's smallest with the
# six libraries that they are linked to. The broker is what runs unless the entry point is
# pglease-workers, as in config/compose.yaml; with the variables of edoburu/pgbouncer or
# bitnami/pgbouncer it takes their place: docs/docker.md. scripts/check-dockerfile checks this file without an engine.

FROM swift:6.3-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends libldap-dev libmicrohttpd-dev libpam0g-dev libpq-dev libssl-dev libuv1-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Package.swift ./
COPY Sources Sources
# Package.swift names targets below Tests; they are not built.
COPY Tests Tests
RUN swift build -c release --static-swift-stdlib --product pglease \
    && swift build -c release --static-swift-stdlib --product pglease-workers \
    && folder="$(swift build -c release --static-swift-stdlib --show-bin-path)" \
    && install -D -s -t /out "$folder/pglease" "$folder/pglease-workers"

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libldap-2.5-0 libmicrohttpd12 libpam0g libpq5 libssl3 libuv1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pglease \
    && install -d -o pglease -g pglease -m 0755 /run/pglease /etc/pglease \
    && ln -s pglease /usr/bin/pgbouncer
COPY --from=build /out/pglease /out/pglease-workers /usr/bin/
COPY config/entrypoint /usr/bin/pglease-entrypoint
COPY config/pglease.ini /usr/share/doc/pglease/pglease.ini

# Numeric, so that Kubernetes can see that it is not root.
USER 10001:10001
ENV PGLEASE_UNIX_SOCKET_DIR=/run/pglease
# Share it with the workers: this is where they connect, with host=/run/pglease port=6432.
VOLUME /run/pglease
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["pglease-entrypoint", "ping", "--live"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["pglease-entrypoint"]
CMD ["serve"]
