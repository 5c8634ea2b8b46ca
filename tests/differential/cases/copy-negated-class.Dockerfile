FROM scratch
COPY [^a].txt /to/
