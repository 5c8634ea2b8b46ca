FROM scratch
COPY a.txt /
VOLUME /one /two
VOLUME ["/three", "/with space"]
ENV V=/four
VOLUME $V/sub
