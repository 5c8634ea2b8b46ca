FROM scratch
ADD archives/tree.tar.bz2 /bz2/
ADD archives/tree.tar.xz /xz/
