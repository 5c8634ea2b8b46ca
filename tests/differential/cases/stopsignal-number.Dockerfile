FROM scratch
COPY a.txt /
STOPSIGNAL 9
