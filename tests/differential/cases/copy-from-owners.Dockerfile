FROM diff-base
RUN mkdir /o && echo x > /o/f && chown -R alice:staff /o
FROM scratch
COPY --from=0 /o /kept
COPY --from=0 --chown=1:2 /o /given
