FROM diff-base AS src
RUN mkdir /w && touch /w/a.x /w/b.x /w/c.y
FROM scratch
COPY --from=src /w/*.x /dst/
