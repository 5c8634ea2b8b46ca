FROM scratch
ADD archives/tree.tar.gz /out/
