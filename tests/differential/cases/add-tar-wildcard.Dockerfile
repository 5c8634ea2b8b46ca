FROM scratch
ADD archives/tree.tar.* /out/
