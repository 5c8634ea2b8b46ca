FROM scratch
COPY --chown=7:8 links /links
