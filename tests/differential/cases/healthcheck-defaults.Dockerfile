FROM scratch
COPY a.txt /
HEALTHCHECK CMD true
