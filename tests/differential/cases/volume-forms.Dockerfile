FROM scratch
VOLUME /one /two
VOLUME ["/three", "/with space"]
ENV V=/four
VOLUME $V/sub
