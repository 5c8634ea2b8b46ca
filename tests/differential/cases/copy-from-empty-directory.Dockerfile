FROM diff-base
RUN mkdir -p /e/m/p
FROM scratch
COPY --from=0 /e /e
