FROM scratch
COPY [a-b].txt /to/
