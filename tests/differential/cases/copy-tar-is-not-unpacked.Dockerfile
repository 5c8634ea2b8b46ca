FROM scratch
COPY archives/tree.tar.gz /out/
