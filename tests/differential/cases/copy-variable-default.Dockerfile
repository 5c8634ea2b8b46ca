FROM scratch
COPY ${SRC:-a.txt} ${DST:-/dst}/
