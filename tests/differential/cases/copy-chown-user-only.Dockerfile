FROM scratch
COPY --chown=1234 a.txt /new/dir/
