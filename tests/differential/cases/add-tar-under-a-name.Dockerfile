FROM scratch
ADD archives/tree.tar.gz /out/name.tar.gz
