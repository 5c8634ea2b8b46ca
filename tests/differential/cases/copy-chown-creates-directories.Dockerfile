FROM scratch
COPY --chown=5:6 a.txt /new/dir/f
