# syntax=docker/dockerfile:1
# check=skip=JSONArgsRecommended

# A shop: a web client, three services, their tests, and the image that runs them all.
ARG NODE_VERSION=22.11.0
ARG GO_VERSION=1.23
ARG DEBIAN_RELEASE=bookworm
ARG VERSION=0.0.0-dev

FROM debian:${DEBIAN_RELEASE}-slim AS os
ENV LANG=C.UTF-8 \
    LC_ALL=C.UTF-8 \
    TZ=Etc/UTC \
    DEBIAN_FRONTEND=noninteractive
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates \
        curl \
        # needed by the health checks
        jq \
        tini \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --system --gid 10001 app && useradd --system --uid 10001 --gid app --home /srv/app app

FROM node:${NODE_VERSION}-${DEBIAN_RELEASE} AS node
ENV NODE_ENV=production NPM_CONFIG_CACHE=/var/cache/npm PATH=/srv/web/node_modules/.bin:$PATH
WORKDIR /srv/web
COPY web/package.json web/package-lock.json ./
COPY web/packages/ui/package.json packages/ui/
COPY web/packages/api/package.json packages/api/
COPY web/packages/store/package.json packages/store/

FROM node AS web-dependencies
RUN --mount=type=cache,target=/var/cache/npm npm ci --include=dev --ignore-scripts
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm run postinstall --if-present

FROM web-dependencies AS web-build
ARG VERSION
ARG SENTRY_DSN=""
ENV VITE_VERSION=${VERSION} VITE_SENTRY_DSN=${SENTRY_DSN:-none}
COPY --exclude=**/*.test.ts --exclude=**/*.stories.tsx web/ .
RUN npm run build -- --mode production --outDir /out/${VERSION#v}
RUN <<EOF
set -eu
cd /out
find . -type f -name '*.js' -size +1k | while read -r file; do
    gzip --keep --best "$file"
done
sha256sum $(find . -type f | sort) > manifest.txt
EOF

FROM web-dependencies AS web-test
COPY web/ .
RUN npm run lint && npm run typecheck
RUN --network=none npm test -- --run --reporter=junit --outputFile=/reports/web.xml

FROM golang:${GO_VERSION}-${DEBIAN_RELEASE} AS go
ARG TARGETOS
ARG TARGETARCH
ENV CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} GOFLAGS="-trimpath -buildvcs=false"
WORKDIR /src
COPY go.mod go.sum ./
COPY services/catalog/go.mod services/catalog/go.sum services/catalog/
COPY services/orders/go.mod services/orders/go.sum services/orders/
COPY services/payments/go.mod services/payments/go.sum services/payments/
RUN --mount=type=cache,target=/go/pkg/mod go mod download && go mod verify
COPY internal/ internal/
COPY --chmod=0644 proto/*.proto proto/

FROM go AS catalog
ARG VERSION
COPY services/catalog/ services/catalog/
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/catalog ./services/catalog

FROM go AS orders
ARG VERSION
COPY services/orders/ services/orders/
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -ldflags "-s -w -X main.version=${VERSION}" -o /out/orders ./services/orders
RUN ["/out/orders", "--self-check", "--config", "/dev/null"]

FROM go AS payments
ARG VERSION
ARG PAYMENTS_TAGS="production,${TARGETARCH}"
COPY services/payments/ services/payments/
RUN --mount=type=ssh --mount=type=cache,target=/go/pkg/mod \
    --mount=type=bind,source=vendor/payments,target=/src/vendor/payments \
    go build -tags "${PAYMENTS_TAGS}" -ldflags "-s -w -X main.version=${VERSION}" \
        -o /out/payments ./services/payments

FROM go AS go-test
COPY services/ services/
RUN --mount=type=cache,target=/root/.cache/go-build go vet ./... && go test -count=1 ./... | tee /reports.txt

FROM os AS configuration
COPY <<catalog.toml <<orders.toml <<payments.toml /etc/shop/
[server]
address = "0.0.0.0:8001"
timeout = "5s"

[database]
url = "postgres://catalog@db/catalog"
pool = 16
catalog.toml
[server]
address = "0.0.0.0:8002"

[queue]
url = "amqp://queue"
prefetch = 32
orders.toml
[server]
address = "0.0.0.0:8003"

[provider]
name = "example"
retries = 5
payments.toml
COPY --chown=app:app --chmod=u=rwX,go=rX deploy/certificates/ /etc/shop/certificates/
COPY --parents deploy/./templates/**/*.tmpl /etc/shop/

FROM os AS runtime
ARG VERSION
LABEL org.opencontainers.image.title="shop" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="https://git.example.com/shop/shop" \
      org.opencontainers.image.licenses=Apache-2.0
WORKDIR /srv/app
COPY --link --from=configuration /etc/shop /etc/shop
COPY --link --from=catalog --chown=10001:10001 /out/catalog bin/
COPY --link --from=orders --chown=10001:10001 /out/orders bin/
COPY --link --from=payments --chown=10001:10001 /out/payments bin/
COPY --from=web-build --chown=app:app /out public/
COPY --from=web-test /reports/web.xml /usr/share/doc/shop/reports/
COPY --from=go-test /reports.txt /usr/share/doc/shop/reports/go.txt
COPY deploy/entrypoint.sh /usr/local/bin/entrypoint
RUN chmod 0755 /usr/local/bin/entrypoint && ln -s /srv/app/bin/catalog /usr/local/bin/catalog
RUN set -eux; for service in catalog orders payments; do test -x "/srv/app/bin/$service"; done
ENV SHOP_VERSION=${VERSION} SHOP_CONFIG=/etc/shop PATH="/srv/app/bin:${PATH}"
VOLUME ["/var/lib/shop", "/var/log/shop"]
EXPOSE 8001/tcp 8002/tcp 8003-8005/tcp 9090
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=4 \
    CMD curl --fail --silent http://127.0.0.1:8001/healthz | jq -e '.status == "ok"'
USER app:app
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/entrypoint"]
CMD ["catalog", "--listen", "0.0.0.0:8001"]
