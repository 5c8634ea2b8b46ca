FROM scratch
COPY --chown=2000000000:70000 a.txt /f
