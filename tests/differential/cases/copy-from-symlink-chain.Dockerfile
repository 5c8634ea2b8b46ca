FROM diff-base AS src
RUN mkdir -p /v1 && echo v1 > /v1/f && ln -s /v1 /current && ln -s current /latest
FROM scratch
COPY --from=src /latest/f /f
COPY --from=src /latest /d
