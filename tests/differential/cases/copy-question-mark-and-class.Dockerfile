FROM scratch
COPY ?.txt /one/
COPY [ab].txt /class/
