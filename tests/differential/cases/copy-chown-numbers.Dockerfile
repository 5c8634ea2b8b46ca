FROM scratch
COPY --chown=1000:2000 dir /dst
