FROM diff-base AS one
RUN mkdir -p /out/sub && echo made > /out/made && echo sub > /out/sub/file && ln -s made /out/link && chown -R alice:staff /out/sub
FROM scratch
COPY --from=one /out /result
COPY --from=one /out/made /single
