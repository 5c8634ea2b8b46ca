FROM diff-base AS src
RUN mkdir /s && touch /s/suid && chmod 4755 /s/suid && mkdir -m 1777 /s/sticky && mkdir -m 2750 /s/setgid
FROM scratch
COPY --from=src /s /s
