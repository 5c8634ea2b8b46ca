FROM scratch
ADD --chown=7:8 archives/tree.tar.gz /out/
