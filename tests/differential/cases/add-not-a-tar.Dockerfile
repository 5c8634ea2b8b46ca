FROM scratch
ADD archives/broken.tar.gz /out/
